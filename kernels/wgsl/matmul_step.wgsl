// acc += x · w for 4 inputs and 4 output features, one multiply-add after the other in ascending order of the input.
// Every tile of a product on rows uses it, so that a row's result never depends on the tile.
fn multiply_add_4(x: vec4f, w0: vec4f, w1: vec4f, w2: vec4f, w3: vec4f, acc: vec4f) -> vec4f {
  return fma(vec4f(x.w), w3, fma(vec4f(x.z), w2, fma(vec4f(x.y), w1, fma(vec4f(x.x), w0, acc))));
}
