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

/** Arrays that matrices are loaded from, by the number that a matrix remembers; 0 is zeros. All hold vectors of 8 halves but `x`. */
const SOURCES = ["", "staged", "k_cache", "k_tree", "halves", "x", "staged_inputs"];

const MATRICES: readonly Replacement[] = [
  [/^(enable|diagnostic).*$/gm, ""],
  [/alias (Left|Right|Result|Sum) = .*;/g, ""],
  [
    /subgroupMatrixLoad<(Left|Right), (col|row)_major>\(&(\w+),/g,
    (_, side = "", major = "", source = "") =>
      `${side.toLowerCase()}_matrix(${SOURCES.indexOf(source)}u, ${major === "col"}, ${source === "x" ? 1 : 8}u,`,
  ],
  [
    /subgroupMatrixStore<(col|row)_major>\(&(\w+),/g,
    (_, major = "", target = "") => `store_in_${target}(${major === "col"},`,
  ],
  [/subgroupMatrixMultiplyAccumulate/g, "emulated_multiply"],
];

/** Kernels whose subgroups exchange values name the subgroup and the lane; one subgroup by itself has its lane only. */
const SUBGROUPS: readonly Replacement[] = [
  [
    /@builtin\(subgroup_id\) warp: u32,\s*@builtin\(subgroup_invocation_id\) lane: u32,\s*\) \{/,
    "@builtin(local_invocation_index) thread: u32) { emulated_thread = thread; let warp = thread / 32u; let lane = thread % 32u;",
  ],
  [/@builtin\(local_invocation_index\) lane: u32\) \{/, "$& emulated_thread = lane;"],
  [/subgroupShuffleXor\((top|sum), (\w+)\)/g, "bitcast<f32>(exchange(bitcast<u32>($1), $2))"],
  [/subgroupShuffle\(/g, "shuffle("],
  [/subgroupMax\(/g, "largest("],
  [/subgroupBallot\(/g, "ballot("],
  // Software adapters have less workgroup memory than GPUs. How much is staged at once does not show in a result.
  [/const STAGED_TILES = .*;/, "const STAGED_TILES = 2u / (ROWS / 16u);"],
];

/** Vectors of two halves are vectors of f32 while they are worked with, and words where they are stored. */
const HALVES: readonly Replacement[] = [
  [/alias x_t = f16;/, ""],
  [/array<vec4<x_t>>/g, "array<vec2u>"],
  [/var<storage, read> x: array<f16>/, "var<storage, read> x: array<u32>"],
  [/-> vec4<f16>/g, "-> vec2u"],
  [/vec4<f16>\(clamp/g, "packed(clamp"],
  [/array<vec2<f16>>/g, "array<u32>"],
  [/scales\[([^\]]+)\]/g, "unpack2x16float(scales[$1])"],
  [/bitcast<vec2<f16>>\(/g, "unpack2x16float("],
  [/vec2<f16>/g, "vec2f"],
  [/bitcast<u32>\((fma|low|high)/g, "pack2x16float($1"],
  [/(\d\.\d)h/g, "$1"],
];

type Replacement = readonly [RegExp, string | ((...parts: string[]) => string)];

function emulate(spec: KernelSpec): string {
  const numSteps = Number(spec.constants.HEAD_DIM) / 16;
  const partTiles = Math.min(8, 2 ** Math.ceil(Math.log2(numSteps)));
  const numUsed = Math.max(Math.min(numSteps, 8), Math.min(partTiles, 2));
  // What is written out for larger heads would be compiled too.
  const source = shaderSource(spec).replace(/if \(used > (\d+)u\) \{[^{}]*\}/g, (text, n) => (n < numUsed ? text : ""));
  const code = [...MATRICES, ...SUBGROUPS, ...HALVES].reduce(
    (text, [pattern, by]) => (typeof by === "string" ? text.replace(pattern, by) : text.replace(pattern, by)),
    source,
  );
  const added = [PACKED];
  if (code.includes("emulated_multiply(")) added.push(matrices(code, spec.constants.TOKENS ?? 16));
  if (spec.shader.includes("attention_matrix")) added.push(EXCHANGES);
  return [code, ...added].join("\n");
}

const PACKED = "fn packed(v: vec4f) -> vec2u { return vec2u(pack2x16float(v.xy), pack2x16float(v.zw)); }";

/**
 * Matrices of 16 rows on the left, and of `columns` columns on the right: 8 or 16. A lane keeps half a row of a result. Where a matrix
 * lies is counted in halves, whatever the array's elements are.
 */
function matrices(code: string, columns: number | string): string {
  const reads = SOURCES.flatMap((name, source) => {
    if (!code.includes(`_matrix(${source}u,`)) return [];
    const word = name === "x" ? "x[at / 2u]" : `${name}[at / 8u][at % 8u / 2u]`;
    return [`if (m.source == ${source}u) { word = ${word}; }`];
  });
  const target = /store_in_(\w+)\(/.exec(code)?.[1];
  return `
const MATRIX_COLUMNS = ${columns}u;
const OWN_COLUMNS = MATRIX_COLUMNS / 2u;
struct Stored { source: u32, by_column: bool, at: u32, stride: u32 }
alias Left = Stored;
alias Right = Stored;
struct Result { e: array<f32, OWN_COLUMNS> }
alias Sum = Result;
var<private> emulated_thread: u32;

fn left_matrix(source: u32, by_column: bool, unit: u32, at: u32, stride: u32) -> Left {
  return Left(source, by_column, unit * at, unit * stride);
}
fn right_matrix(source: u32, by_column: bool, unit: u32, at: u32, stride: u32) -> Right {
  return Right(source, by_column, unit * at, unit * stride);
}
fn element(m: Stored, row: u32, column: u32) -> f32 {
  let at = m.at + select(row * m.stride + column, column * m.stride + row, m.by_column);
  var word = 0u;
  ${reads.join("\n  ")}
  return unpack2x16float(word)[at % 2u];
}
fn store_in_${target}(by_column: bool, offset: u32, m: Result, stride: u32) {
  let row = emulated_thread % 32u / 2u;
  for (var i = 0u; i < OWN_COLUMNS; i++) {
    let column = emulated_thread % 2u * OWN_COLUMNS + i;
    ${target}[offset + select(row * stride + column, column * stride + row, by_column)] = m.e[i];
  }
}
fn emulated_multiply(left: Left, right: Right, sums: Result) -> Result {
  var m = sums;
  if (right.source == 0u) { return m; }
  let row = emulated_thread % 32u / 2u;
  for (var k = 0u; k < 16u; k++) {
    let l = element(left, row, k);
    for (var i = 0u; i < OWN_COLUMNS; i++) { m.e[i] += l * element(right, k, emulated_thread % 2u * OWN_COLUMNS + i); }
  }
  return m;
}
`;
}

/** What the threads of a subgroup of 32 exchange. */
const EXCHANGES = `
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
`;
