import { resolveModel } from "../engine/model/bundled.ts";
import { openModel } from "../engine/model/open.ts";
import type { LlamaConfig } from "../engine/model/types.ts";
import { contextOfChoice } from "../engine/runner/kernel-choice.ts";
import { type LlamaWeights, uploadLlama } from "../engine/runner/weights.ts";
import {
  type AdapterChoice,
  createGpuContext,
  type Gpu,
  type GpuContext,
  openGpu,
  type WeightFormat,
} from "../kernels/index.ts";
import type { BenchDevice } from "./bench-device.ts";
import { weightFormats } from "./random-weights.ts";
import { SYNTHETIC_SHAPES, type SyntheticShape, syntheticWeights } from "./synthetic.ts";
import { DeviceTimer } from "./timing.ts";

/** A model whose weights are on a device of its own, once for all runners and engines that measure it. */
export interface BenchModel extends BenchDevice {
  readonly name: string;
  readonly config: LlamaConfig;
  readonly digest: string;
  readonly weights: LlamaWeights;
  /** `gpu` with the kernels that engines choose for the model. */
  readonly chosen: GpuContext;
  /** Tokens that RoPE's table goes to. */
  readonly maxModelLen: number;
}

/** @param nameOrPath a bundled model, or a local folder or file; it need not have a tokenizer @throws ModelFileError, GpuError */
export async function uploadModel(
  nameOrPath: string,
  adapter: AdapterChoice,
  maxModelLen: number,
): Promise<BenchModel> {
  const { name, config, digest, weights: source } = openModel(resolveModel(nameOrPath));
  try {
    const device = await openGpu(adapter);
    const gpu = createGpuContext(device);
    const length = Math.min(maxModelLen, config.maxPositionEmbeddings);
    const weights = uploadLlama(gpu.pool, gpu.family, config, source, length);
    return {
      ...(await chosenKernels(device, gpu, config, weights)),
      name,
      config,
      digest,
      weights,
      maxModelLen: length,
    };
  } finally {
    source.close();
  }
}

/** Random weights in the shape of a real model, in `format` where the device's kernels know it, else in what they do know. */
export async function synthesizeModel(
  shape: SyntheticShape,
  format: WeightFormat,
  adapter: AdapterChoice,
  maxModelLen: number,
): Promise<BenchModel> {
  const config = SYNTHETIC_SHAPES[shape];
  const device = await openGpu(adapter);
  const gpu = createGpuContext(device);
  const known = weightFormats(gpu);
  const used = known.includes(format) ? format : (known[0] ?? format);
  const weights = syntheticWeights(gpu, config, used, maxModelLen);
  const name = `synthetic-${shape}`;
  return { ...(await chosenKernels(device, gpu, config, weights)), name, config, digest: name, weights, maxModelLen };
}

/** With the kernels that an engine would choose for these weights, so that T(M) is measured with those that decode. */
async function chosenKernels(
  device: Gpu,
  gpu: GpuContext,
  config: LlamaConfig,
  weights: LlamaWeights,
): Promise<BenchDevice & Pick<BenchModel, "chosen">> {
  const { gpu: chosen } = await contextOfChoice(device, gpu, { config, weights });
  return { device, gpu, chosen, timer: new DeviceTimer(device, gpu) };
}

export function closeModel({ gpu, device }: BenchDevice): void {
  gpu.pool.destroyAll();
  device.close();
}

/** Bytes that a step of one row reads of the weights: every matrix once. */
export function weightBytes({ layers, lmHead }: LlamaWeights): number {
  const matrices = [...layers.flatMap(({ qkv, output, gateUp, down }) => [qkv, output, gateUp, down]), lmHead];
  const parts = matrices.flatMap((matrix) => matrix.parts);
  return parts.reduce((sum, { values, scales }) => sum + values.size + (scales?.size ?? 0), 0);
}
