// Four elements of a key or value, stored as halves. Packed words need no shader-f16.
alias kv_quad = vec2u;
fn from_kv(stored: kv_quad) -> vec4f { return vec4f(unpack2x16float(stored.x), unpack2x16float(stored.y)); }
