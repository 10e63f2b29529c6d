// Four elements of queries and results, stored as halves. Packed words need no shader-f16.
alias io_quad = vec2u;
fn from_io(stored: io_quad) -> vec4f { return vec4f(unpack2x16float(stored.x), unpack2x16float(stored.y)); }
fn to_io(values: vec4f) -> io_quad { return vec2u(pack2x16float(values.xy), pack2x16float(values.zw)); }
