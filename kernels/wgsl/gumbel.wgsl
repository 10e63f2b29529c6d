// Gumbel noise as a pure function of (seed, choice, position, token): arg-max of logit / T + noise is a draw from softmax.
// The hash is two rounds of the 32-bit finaliser "lowbias32" (C. Wellons, hash-prospector) over a 64-bit key.

fn mix32(value: u32) -> u32 {
  var x = value;
  x = (x ^ (x >> 16u)) * 0x7feb352du;
  x = (x ^ (x >> 15u)) * 0x846ca68bu;
  return x ^ (x >> 16u);
}

// Key of one draw, shared by all its tokens.
fn noise_key(seed: vec2u, choice: u32, position: u32) -> vec2u {
  let a = mix32(mix32(mix32(seed.x ^ 0x9e3779b9u) + position) + choice);
  let b = mix32(mix32(mix32(seed.y ^ 0x85ebca6bu) ^ a) + position);
  return vec2u(a, b);
}

// −log(−log(u)) with u = 1 − v. v keeps full precision where it is small, which is where the maxima come from; it never
// rounds to 1. −log(1 − v) is a series there, because 1 − v would lose v.
fn gumbel(key: vec2u, token: u32) -> f32 {
  let h = mix32(mix32(token * 0x9e3779b9u + key.x) ^ key.y);
  let v = min((f32(h) + 0.5) * 2.3283064365386963e-10, 0.99999994);
  let series = v * (1.0 + v * (0.5 + v * (0.33333334 + v * 0.25)));
  let e = select(-log(1.0 - v), series, v < 0.01);
  return -log(e);
}
