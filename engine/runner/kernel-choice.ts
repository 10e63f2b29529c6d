import {
  type ChoiceTools,
  choiceKey,
  chooseKernels,
  DeviceProductTimer,
  defaultCacheDir,
  type Gpu,
  type GpuContext,
  type KernelChoice,
  type ModelProduct,
  type PackedMatrix,
  parseChoice,
  withChoice,
} from "../../kernels/index.ts";
import { EngineOptionsError } from "../errors.ts";
import { productShapes } from "../model/product-shapes.ts";
import type { LlamaConfig } from "../model/types.ts";
import type { LlamaWeights } from "./weights.ts";

/** All choices of this process: engines over the same model and device share one. */
const chosen: ChoiceTools["chosen"] = new Map();

/**
 * The context in which a model's products run as measured on this device, or as `given`.
 * @throws EngineOptionsError where `given` is for another device, build or model
 */
export async function contextOfChoice(
  device: Gpu,
  gpu: GpuContext,
  model: { readonly config: LlamaConfig; readonly weights: LlamaWeights },
  given?: KernelChoice,
): Promise<{ readonly gpu: GpuContext; readonly choice: KernelChoice }> {
  const products = modelProducts(model.config, model.weights);
  const choice =
    given === undefined
      ? await chooseKernels(device, gpu, products, toolsOf(device, gpu))
      : parseChoice(given, gpu.family, choiceKey(device, gpu.family, products), products);
  if (choice === undefined) {
    throw new EngineOptionsError(
      "kernels: were chosen for another adapter, driver, build or model; leave them out to have them chosen",
    );
  }
  return { gpu: { ...gpu, family: withChoice(gpu.family, choice) }, choice };
}

function toolsOf(device: Gpu, gpu: GpuContext): ChoiceTools {
  const now = () => performance.now();
  const measures = !device.traits.software && device.features.includes("timestamp-query");
  return { chosen, now, cacheDir: defaultCacheDir(), timer: measures ? new DeviceProductTimer(gpu, now) : undefined };
}

function modelProducts(config: LlamaConfig, { layers, lmHead }: LlamaWeights): ModelProduct[] {
  const shapes = productShapes(config);
  const ofLayers = (name: "qkv" | "output" | "gateUp" | "down"): ModelProduct => ({
    ...{ shape: shapes[name], whole: false },
    matrices: layers.map((layer): PackedMatrix => layer[name]),
  });
  return [
    ...(["qkv", "output", "gateUp"] as const).map(ofLayers),
    { ...ofLayers("down"), gateUp: shapes.gateUp },
    { shape: shapes.lmHead, whole: true, matrices: [lmHead] },
  ];
}
