import { type KernelSpec, Kernels, shaderSource } from "../../kernels/index.ts";

/**
 * Kernels for adapters without subgroup matrices, f16 or subgroups of 32: what attention_matrix needs of them is done in workgroup
 * memory, with a barrier around everything that threads exchange. Slow, rounded otherwise, but the same steps, rows and masks.
 */
export class EmulatedMatrices extends Kernels {
  readonly #device: GPUDevice;
  readonly #emulated = new Map<string, Promise<GPUComputePipeline>>();

  constructor(device: GPUDevice) {
    super(device);
    this.#device = device;
  }

  override pipeline(spec: KernelSpec): Promise<GPUComputePipeline> {
    if (spec.enables?.length === 0 || spec.enables === undefined) return super.pipeline(spec);
    const code = emulate(spec);
    let pipeline = this.#emulated.get(code);
    if (pipeline === undefined) {
      const module = this.#device.createShaderModule({ code });
      pipeline = this.#device.createComputePipelineAsync({ layout: "auto", compute: { module } });
      this.#emulated.set(code, pipeline);
    }
    return pipeline;
  }
}

const REPLACEMENTS: readonly (readonly [RegExp, string])[] = [
  [/^(enable|diagnostic).*$/gm, ""],
  [/alias (Left|Right|Result) = .*;/g, ""],
  [
    /@builtin\(subgroup_id\) warp: u32,\s*@builtin\(subgroup_invocation_id\) lane: u32,\s*\) \{/,
    "@builtin(local_invocation_index) thread: u32) { emulated_thread = thread; let warp = thread / 32u; let lane = thread % 32u;",
  ],
  [/subgroupMatrixLoad<Left, row_major>\(&(staged|weights),/g, "load_left_$1("],
  [/subgroupMatrixLoad<Right, (col|row)_major>\(&staged,/g, "load_right_$1("],
  [/subgroupMatrixLoad<Result, row_major>\(&scores,/g, "load_result("],
  [/subgroupMatrixStore<row_major>\(&scores, ([^,]+), (\w+),/g, "store_result($1, $2,"],
  [/subgroupMatrixMultiplyAccumulate/g, "multiply"],
  [/subgroupShuffleXor\((top|sum), 1u\)/g, "bitcast<f32>(exchange(bitcast<u32>($1), 1u))"],
  [/subgroupShuffleXor\((\w+), 1u\)/g, "exchange($1, 1u)"],
  [/subgroupShuffle\(/g, "shuffle("],
  [/subgroupMax\(/g, "largest("],
  [/subgroupAny\(/g, "any_of("],
  [/alias x_t = f16;/, ""],
  [/array<vec4<x_t>>/g, "array<vec2u>"],
  [/vec4<f16>\(clamp/g, "packed(clamp"],
  [/array<f16,/g, "array<f32,"],
  [/\bf16\(/g, "quantizeToF16("],
  [/0\.0h/g, "0.0"],
];

function emulate(spec: KernelSpec): string {
  const { HEAD_DIM, WORKGROUP_SIZE } = spec.constants;
  const numSteps = Number(HEAD_DIM) / 16;
  const numLoads = Math.ceil((4 * Number(HEAD_DIM)) / Number(WORKGROUP_SIZE));
  // What is written out for larger heads would be compiled too.
  const full = shaderSource(spec).replace(/if \(LOADS > (\d+)u\) \{[^{}]*\}/g, (text, n) => (n < numLoads ? text : ""));
  const source = full.replace(/if \(STEPS > (\d+)u\) \{[^{}]*\}/g, (text, n) => (n < numSteps ? text : ""));
  const code = REPLACEMENTS.reduce((text, [pattern, by]) => text.replace(pattern, by), source);
  const matrices = spec.shader.includes("attention_matrix") ? MATRICES : "";
  return `${code}\n${HALVES}\n${matrices.replaceAll("THREADS", `${WORKGROUP_SIZE}u`)}`;
}

const HALVES = "fn packed(v: vec4f) -> vec2u { return vec2u(pack2x16float(v.xy), pack2x16float(v.zw)); }";

/** A lane keeps elements 8 · lane … 8 · lane + 7 of a matrix of 16 × 16, row by row. */
const MATRICES = `
struct Left { e: array<f32, 8> }
struct Right { e: array<f32, 8> }
struct Result { e: array<f32, 8> }
var<private> emulated_thread: u32;
var<workgroup> words: array<u32, THREADS>;
var<workgroup> lefts: array<f32, THREADS * 8u>;
var<workgroup> rights: array<f32, THREADS * 8u>;

fn shuffle(value: u32, lane: u32) -> u32 {
  workgroupBarrier();
  words[emulated_thread] = value;
  workgroupBarrier();
  return words[emulated_thread / 32u * 32u + lane];
}
fn exchange(value: u32, mask: u32) -> u32 { return shuffle(value, (emulated_thread % 32u) ^ mask); }
fn largest(value: u32) -> u32 {
  workgroupBarrier();
  words[emulated_thread] = value;
  workgroupBarrier();
  var most = 0u;
  for (var i = 0u; i < 32u; i++) { most = max(most, words[emulated_thread / 32u * 32u + i]); }
  return most;
}
fn any_of(value: bool) -> bool { return largest(select(0u, 1u, value)) == 1u; }
fn staged_half(offset: u32, stride: u32, major: u32, minor: u32) -> f32 {
  return unpack2x16float(staged[offset + major * stride + minor / 8u][minor % 8u / 2u])[minor % 2u];
}
fn load_left_staged(offset: u32, stride: u32) -> Left {
  var m: Left;
  for (var i = 0u; i < 8u; i++) { let e = emulated_thread % 32u * 8u + i; m.e[i] = staged_half(offset, stride, e / 16u, e % 16u); }
  return m;
}
fn load_left_weights(offset: u32, stride: u32) -> Left {
  var m: Left;
  for (var i = 0u; i < 8u; i++) { let e = emulated_thread % 32u * 8u + i; m.e[i] = weights[offset + e / 16u * stride + e % 16u]; }
  return m;
}
fn load_right_row(offset: u32, stride: u32) -> Right {
  var m: Right;
  for (var i = 0u; i < 8u; i++) { let e = emulated_thread % 32u * 8u + i; m.e[i] = staged_half(offset, stride, e / 16u, e % 16u); }
  return m;
}
fn load_right_col(offset: u32, stride: u32) -> Right {
  var m: Right;
  for (var i = 0u; i < 8u; i++) { let e = emulated_thread % 32u * 8u + i; m.e[i] = staged_half(offset, stride, e % 16u, e / 16u); }
  return m;
}
fn load_result(offset: u32, stride: u32) -> Result {
  var m: Result;
  for (var i = 0u; i < 8u; i++) { let e = emulated_thread % 32u * 8u + i; m.e[i] = scores[offset + e / 16u * stride + e % 16u]; }
  return m;
}
fn store_result(offset: u32, m: Result, stride: u32) {
  for (var i = 0u; i < 8u; i++) { let e = emulated_thread % 32u * 8u + i; scores[offset + e / 16u * stride + e % 16u] = m.e[i]; }
}
fn multiply(left: Left, right: Right, sums: Result) -> Result {
  workgroupBarrier();
  for (var i = 0u; i < 8u; i++) {
    lefts[emulated_thread * 8u + i] = left.e[i];
    rights[emulated_thread * 8u + i] = right.e[i];
  }
  workgroupBarrier();
  var m = sums;
  let base = emulated_thread / 32u * 256u;
  for (var i = 0u; i < 8u; i++) {
    let e = emulated_thread % 32u * 8u + i;
    for (var k = 0u; k < 16u; k++) { m.e[i] += lefts[base + e / 16u * 16u + k] * rights[base + k * 16u + e % 16u]; }
  }
  return m;
}
`;
