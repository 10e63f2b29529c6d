import { type KernelSpec, Kernels, shaderSource } from "../../kernels/index.ts";

/**
 * Kernels for adapters without subgroup matrices, f16 or subgroups of 32. A matrix on the right remembers where it lies, one on
 * the left too, and a product reads both from there; what the threads of a subgroup exchange goes through workgroup memory, with
 * barriers. Slow, rounded otherwise, but the same entries, columns and sums as on hardware.
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

/** What a matrix on the right is made from, by the number that it remembers; 0 is zeros. */
const SOURCES = ["", "staged", "k_cache", "k_tree"];

const REPLACEMENTS: readonly (readonly [RegExp, string | ((...parts: string[]) => string)])[] = [
  [/^(enable|diagnostic).*$/gm, ""],
  [/alias (Left|Right|Result) = .*;/g, ""],
  [
    /@builtin\(subgroup_id\) warp: u32,\s*@builtin\(subgroup_invocation_id\) lane: u32,\s*\) \{/,
    "@builtin(local_invocation_index) thread: u32) { emulated_thread = thread; let warp = thread / 32u; let lane = thread % 32u;",
  ],
  [/subgroupMatrixLoad<Left, row_major>\(&halves,/g, "Left("],
  [
    /subgroupMatrixLoad<Right, (col|row)_major>\(&(\w+),/g,
    (_, major = "", source = "") => `Right(${SOURCES.indexOf(source)}u, ${major === "col"},`,
  ],
  [/subgroupMatrixStore<row_major>\(&scores, ([^,]+), (\w+),/g, "store_result($1, $2,"],
  [/subgroupMatrixMultiplyAccumulate/g, "emulated_multiply"],
  [/subgroupShuffleXor\((top|sum), (\w+)\)/g, "bitcast<f32>(exchange(bitcast<u32>($1), $2))"],
  [/subgroupShuffle\(/g, "shuffle("],
  [/subgroupMax\(/g, "largest("],
  [/subgroupBallot\(/g, "ballot("],
  // Software adapters have less workgroup memory than GPUs. How much is staged at once does not show in a result.
  [/const STAGED_TILES = .*;/, "const STAGED_TILES = 2u / (ROWS / 16u);"],
  [/alias x_t = f16;/, ""],
  [/array<vec4<x_t>>/g, "array<vec2u>"],
  [/vec4<f16>\(clamp/g, "packed(clamp"],
];

function emulate(spec: KernelSpec): string {
  const numSteps = Number(spec.constants.HEAD_DIM) / 16;
  const partTiles = Math.min(8, 2 ** Math.ceil(Math.log2(numSteps)));
  const numUsed = Math.max(Math.min(numSteps, 8), Math.min(partTiles, 2));
  // What is written out for larger heads would be compiled too.
  const source = shaderSource(spec).replace(/if \(used > (\d+)u\) \{[^{}]*\}/g, (text, n) => (n < numUsed ? text : ""));
  const code = REPLACEMENTS.reduce(
    (text, [pattern, by]) => (typeof by === "string" ? text.replace(pattern, by) : text.replace(pattern, by)),
    source,
  );
  return spec.shader.includes("attention_matrix") ? `${code}\n${HALVES}\n${matrices(code)}` : `${code}\n${HALVES}`;
}

const HALVES = "fn packed(v: vec4f) -> vec2u { return vec2u(pack2x16float(v.xy), pack2x16float(v.zw)); }";

/** A lane keeps elements 8 · lane … 8 · lane + 7 of a result, row by row. */
function matrices(code: string): string {
  const reads = SOURCES.flatMap((name, source) =>
    name !== "" && new RegExp(`> ${name}: array`).test(code)
      ? [`if (m.source == ${source}u) { v = ${name}[at][word]; }`]
      : [],
  );
  return `
struct Left { at: u32, stride: u32 }
struct Right { source: u32, by_column: bool, at: u32, stride: u32 }
struct Result { e: array<f32, 8> }
var<private> emulated_thread: u32;
var<workgroup> words: array<u32, WORKGROUP_SIZE>;

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
fn ballot(value: bool) -> vec4u {
  workgroupBarrier();
  words[emulated_thread] = select(0u, 1u, value);
  workgroupBarrier();
  var bits = 0u;
  for (var i = 0u; i < 32u; i++) { bits |= words[emulated_thread / 32u * 32u + i] << i; }
  return vec4u(bits, 0u, 0u, 0u);
}
fn half_of(words: vec4u, i: u32) -> f32 { return unpack2x16float(words[i / 2u])[i % 2u]; }
fn right_at(m: Right, k: u32, n: u32) -> f32 {
  let major = select(k, n, m.by_column);
  let minor = select(n, k, m.by_column);
  let at = m.at + major * m.stride + minor / 8u;
  let word = minor % 8u / 2u;
  var v = 0u;
  ${reads.join("\n  ")}
  return unpack2x16float(v)[minor % 2u];
}
fn store_result(offset: u32, m: Result, stride: u32) {
  for (var i = 0u; i < 8u; i++) { let e = emulated_thread % 32u * 8u + i; scores[offset + e / 16u * stride + e % 16u] = m.e[i]; }
}
fn emulated_multiply(left: Left, right: Right, sums: Result) -> Result {
  var m = sums;
  if (right.source == 0u) { return m; }
  let row = emulated_thread % 32u / 2u;
  for (var k = 0u; k < 16u; k++) {
    let l = half_of(halves[left.at + row * left.stride + k / 8u], k % 8u);
    for (var i = 0u; i < 8u; i++) { m.e[i] += l * right_at(right, k, emulated_thread % 2u * 8u + i); }
  }
  return m;
}
`;
}
