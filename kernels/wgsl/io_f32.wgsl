// Four elements of queries and results, stored as f32.
alias io_quad = vec4f;
fn from_io(stored: io_quad) -> vec4f { return stored; }
fn to_io(values: vec4f) -> io_quad { return values; }
