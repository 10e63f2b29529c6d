import type { GpuContext } from "../../kernels/index.ts";
import { type Binding, GpuError, type KernelSpec, Kernels, shaderSource } from "../../kernels/index.ts";
import { attentionCore } from "../../kernels/ops/attention-core.ts";
import { attentionLists } from "../../kernels/ops/attention-lists.ts";

/** Kernels for Dawn's null backend: they compile, remember their files, and run nothing. */
export class NullKernels extends Kernels {
  readonly files = new Set<string>();
  readonly #device: GPUDevice;

  constructor(device: GPUDevice) {
    super(device);
    this.#device = device;
  }

  override async bind(spec: KernelSpec, buffers: readonly Binding[]) {
    for (const name of spec.shader) this.files.add(`${name}.wgsl`);
    // The null adapter has WebGPU's least bindings and workgroup memory, which attention may exceed, and subgroups of up to 128,
    // which workgroups with matrices would have to fill: of those the module alone is checked.
    const moduleOnly = spec.shader.includes("attention_rows") || spec.shader.includes("matmul_matrix");
    if (!moduleOnly) return super.bind(spec, buffers);
    this.#device.pushErrorScope("validation");
    this.#device.createShaderModule({ code: shaderSource(spec) });
    const error = await this.#device.popErrorScope();
    if (error !== null) throw new GpuError("shader_invalid", error.message);
    return { dispatch: () => {} };
  }
}

/** Every kernel of attention over the tensors that callers may have. */
export async function everyAttention(context: GpuContext, headDim: number): Promise<void> {
  const buffer = () => context.pool.storage(16, "any");
  const { family } = context;
  const kinds =
    family.name === "matrix" && headDim % 16 === 0 ? (["matrix"] as const) : (["portable", "subgroup"] as const);
  const layout = { rowsPerBatch: 3, pageSize: 16, splitSize: 256, scale: 1 };
  const shards = [{ kCache: buffer(), vCache: buffer() }];
  const common = { q: buffer(), shards, rowInfo: buffer(), tables: buffer() };
  const buffers = { ...common, out: buffer(), partial: buffer(), stats: buffer() };
  for (const kind of kinds) {
    for (const dtype of kind === "matrix" ? (["f16"] as const) : (["f16", "f32"] as const)) {
      for (const hasBias of [false, true]) {
        const tensors = { numHeads: 6, numKvHeads: 2, headDim, ioType: dtype, kvType: dtype, infoHeads: 6 };
        const tree = { k: buffer(), v: buffer() };
        const own = { ...tensors, hasBias, treeBuffers: true };
        await attentionCore(context, { kind }, own, layout, { ...buffers, tree });
      }
    }
  }
  for (const maskType of ["bool", "f32", "f16"] as const) {
    const shape = {
      numBatches: 1,
      qLen: 1,
      maskType,
      maskBatches: 1,
      infoHeads: 2,
      maxPages: 1,
      numPages: 1,
      maxLen: 1,
    };
    const lists = { mask: buffer(), lengths: buffer(), pages: buffer(), rowInfo: buffer(), tables: buffer() };
    await attentionLists(context, shape, lists);
  }
}
