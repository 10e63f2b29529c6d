// Four elements of a key or value, stored as f32.
alias kv_quad = vec4f;
fn from_kv(stored: kv_quad) -> vec4f { return stored; }
