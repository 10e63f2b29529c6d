// silu(v) = v / (1 + exp(−v)). Every kernel that needs it calls this.
fn silu(v: vec4f) -> vec4f { return v / (1.0 + exp(-v)); }
