import { readFileSync } from "node:fs";
import { join } from "node:path";
import { GpuError } from "./errors.ts";

const MATRICES = "chromium_experimental_subgroup_matrix";

/** Workgroups in x, y, z; a zero anywhere means that there is nothing to do. */
export type Grid = readonly [x: number, y: number, z: number];

/** Values of the generated block: numbers become `const NAME = 64;`, strings become `alias name = f16;`. */
export type ShaderConstants = Readonly<Record<string, number | string>>;

/** What a kernel's author returns; `Kernels.bind` turns it into something that can be dispatched. */
export interface KernelSpec {
  /** Files under wgsl/ without their ending, concatenated in order: shared functions first, the kernel last. */
  readonly shader: readonly string[];
  readonly constants: ShaderConstants;
  /** WGSL extensions to enable. */
  readonly enables?: readonly ("f16" | "subgroups" | typeof MATRICES)[];
  /** Number of u32 of the kernel's `var<immediate>`. */
  readonly numImmediates: number;
}

/** A storage buffer, whole or from `offset` (bytes). */
export type Binding = GPUBuffer | { readonly buffer: GPUBuffer; readonly offset: number; readonly size: number };

/** A kernel with its buffers: made once, dispatched with changing grids and immediates. */
export interface BoundKernel {
  dispatch(pass: GPUComputePassEncoder, grid: Grid, immediates: Uint32Array<ArrayBuffer>): void;
}

const sources = new Map<string, string>();

function readShader(name: string): string {
  let source = sources.get(name);
  if (source === undefined) {
    source = readFileSync(join(import.meta.dirname, "wgsl", `${name}.wgsl`), "utf8");
    sources.set(name, source);
  }
  return source;
}

/** The complete WGSL of a spec: enables, generated block, files. */
export function shaderSource(spec: KernelSpec): string {
  const block = Object.entries(spec.constants).map(([name, value]) =>
    typeof value === "string" ? `alias ${name} = ${value};` : `const ${name} = ${formatNumber(value)};`,
  );
  const enables = (spec.enables ?? []).map((name) => `enable ${name};`);
  // Offsets may depend on the workgroup. Directives stand before everything else, so a file cannot say it.
  if (spec.enables?.includes(MATRICES)) enables.push("diagnostic(off, chromium.subgroup_matrix_uniformity);");
  return [...enables, ...block, ...spec.shader.map(readShader)].join("\n");
}

/** Integers stay abstract integers; everything else is written so that it parses as a float of the same value. */
function formatNumber(value: number): string {
  return Number.isInteger(value) ? String(value) : value.toExponential();
}

/** WebGPU offers 64 bytes of immediates. */
const MAX_IMMEDIATES = 16;

/**
 * What the pass that is being encoded has set already. Every call into the device's encoder costs the host about a
 * microsecond, and there are hundreds of dispatches in a step; immediates stay set from pipeline to pipeline.
 */
class EncodedState {
  pipeline: GPUComputePipeline | undefined;
  bindGroup: GPUBindGroup | undefined;
  #pass: GPUComputePassEncoder | undefined;
  readonly #immediates = new Uint32Array(MAX_IMMEDIATES);
  #numImmediates = 0;

  /** A pass begins with nothing set. */
  begin(pass: GPUComputePassEncoder): void {
    if (pass === this.#pass) return;
    this.#pass = pass;
    this.pipeline = undefined;
    this.bindGroup = undefined;
    this.#numImmediates = 0;
  }

  /** Whether the first `count` words differ from those that are set; they are taken for set then. */
  changes(words: Uint32Array, count: number): boolean {
    let same = count <= this.#numImmediates;
    for (let i = 0; same && i < count; i++) same = words[i] === this.#immediates[i];
    if (same) return false;
    for (let i = 0; i < count; i++) this.#immediates[i] = words[i] ?? 0;
    this.#numImmediates = Math.max(this.#numImmediates, count);
    return true;
  }
}

/** Compiles each distinct spec once per device. The key is the source itself, so it can never go stale. */
export class Kernels {
  /** Threads of a workgroup at most: a power of two, since kernels halve them again and again. */
  readonly maxWorkgroupSize: number;
  readonly #pipelines = new Map<string, Promise<GPUComputePipeline>>();
  readonly #device: GPUDevice;
  readonly #encoded = new EncodedState();

  constructor(device: GPUDevice) {
    this.#device = device;
    const { maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupSizeX } = device.limits;
    const most = Math.min(maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupSizeX);
    this.maxWorkgroupSize = 2 ** Math.floor(Math.log2(most));
  }

  /** @throws GpuError shader_invalid with the compiler's message. */
  pipeline(spec: KernelSpec): Promise<GPUComputePipeline> {
    const code = shaderSource(spec);
    let pipeline = this.#pipelines.get(code);
    if (pipeline === undefined) {
      pipeline = this.#compile(spec, code);
      this.#pipelines.set(code, pipeline);
    }
    return pipeline;
  }

  async #compile(spec: KernelSpec, code: string): Promise<GPUComputePipeline> {
    const label = spec.shader.at(-1) ?? "";
    // The module's own error says what is wrong; the pipeline's says only that the module is invalid.
    this.#device.pushErrorScope("validation");
    const module = this.#device.createShaderModule({ code, label });
    const [moduleError, pipeline] = await Promise.allSettled([
      this.#device.popErrorScope(),
      this.#device.createComputePipelineAsync({ label, layout: "auto", compute: { module } }),
    ]);
    if (pipeline.status === "fulfilled") return pipeline.value;
    const cause: unknown =
      moduleError.status === "fulfilled" ? (moduleError.value ?? pipeline.reason) : pipeline.reason;
    const message = cause instanceof GPUError || cause instanceof Error ? cause.message : String(cause);
    throw new GpuError("shader_invalid", `${label}.wgsl: ${message}`);
  }

  /** Compiles (or finds) the pipeline and binds `buffers` to bindings 0, 1, … of group 0. */
  async bind(spec: KernelSpec, buffers: readonly Binding[]): Promise<BoundKernel> {
    const pipeline = await this.pipeline(spec);
    const bindGroup = this.#device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: buffers.map((binding, index) => ({
        binding: index,
        resource: "buffer" in binding ? binding : { buffer: binding },
      })),
    });
    const { numImmediates } = spec;
    const encoded = this.#encoded;
    return {
      dispatch(pass, grid, immediates) {
        if (grid[0] === 0 || grid[1] === 0 || grid[2] === 0) return;
        encoded.begin(pass);
        if (encoded.pipeline !== pipeline) pass.setPipeline(pipeline);
        encoded.pipeline = pipeline;
        if (encoded.bindGroup !== bindGroup) pass.setBindGroup(0, bindGroup);
        encoded.bindGroup = bindGroup;
        if (encoded.changes(immediates, numImmediates)) pass.setImmediates(0, immediates, 0, numImmediates);
        pass.dispatchWorkgroups(grid[0], grid[1], grid[2]);
      },
    };
  }
}
