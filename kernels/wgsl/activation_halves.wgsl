// How a product on subgroup matrices has its inputs: values that f16 cannot hold become its largest.
fn to_halves(value: vec4f) -> vec4<f16> {
  return vec4<f16>(clamp(value, vec4f(-65504.0), vec4f(65504.0)));
}
