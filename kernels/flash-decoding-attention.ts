import { deviceTraits, openGpu } from "./device.ts";
import { ArgumentError } from "./errors.ts";
import { chooseFamily, type KernelFamily } from "./family.ts";
import { type CheckedArgs, checkArguments, type FlashDecodingArgs } from "./flash-decoding/arguments.ts";
import { runFlashDecoding } from "./flash-decoding/run.ts";
import type { Tensor } from "./flash-decoding/tensor.ts";
import { createGpuContext, type GpuContext } from "./gpu-context.ts";

/** Storage buffers that a kernel of the operator binds. */
const NUM_BINDINGS = 10;
/** Workgroup memory of the largest tile that matrices are used with, bytes. */
const TILE_BYTES = 48 * 1024;

const contexts = new WeakMap<GPUDevice, GpuContext>();
let defaultContext: Promise<GpuContext> | undefined;

/**
 * Attention for speculative decoding: each row of `q` attends to its sequence's cached keys, and to those current keys that the
 * mask gives it (a tree's rows: their ancestors and themselves):
 *   out[b, h, i] = Σj softmax(smScale · q[b, h, i] · k[j] + mask[i, j]) · v[j],  j over kvSeqLen[b] cached keys, then current ones
 * A row without any key gives zeros. Nothing needs padding. The result has the shape and type of `q` and lies where `q` lies:
 * a typed array, or a GPUBuffer which (unless it is `output`) the caller destroys. Work on a device is submitted, not awaited.
 * @throws ArgumentError naming the argument, what it was and what was expected
 * @throws GpuError when there is no adapter or the device failed
 */
export async function flashDecodingAttention(args: FlashDecodingArgs): Promise<Tensor> {
  const checked = checkArguments(args);
  if (checked.onDevice && args.device === undefined) {
    throw new ArgumentError("device", "missing", "the device that the buffers belong to");
  }
  const gpu = args.device ? contextOf(args.device) : await openDefault();
  checkLimits(gpu, checked);
  return runFlashDecoding(gpu, checked);
}

function contextOf(device: GPUDevice): GpuContext {
  let context = contexts.get(device);
  if (context === undefined) {
    const traits = deviceTraits({ features: device.features, info: device.adapterInfo });
    context = createGpuContext({ device, traits }, affordable(chooseFamily(traits), device.limits));
    contexts.set(device, context);
  }
  return context;
}

/** A caller's device may have been opened with less workgroup memory than its adapter has. */
function affordable(family: KernelFamily, limits: GPUSupportedLimits): KernelFamily {
  const fits = family.name !== "matrix" || limits.maxComputeWorkgroupStorageSize >= TILE_BYTES;
  return fits ? family : { ...family, name: "subgroup" };
}

/** One for all calls that name none; opened again after it could not be opened, or was lost. */
function openDefault(): Promise<GpuContext> {
  if (defaultContext === undefined) {
    const forget = () => {
      defaultContext = undefined;
    };
    defaultContext = openGpu().then(({ device }) => {
      void device.lost.then(forget);
      return contextOf(device);
    });
    defaultContext.catch(forget);
  }
  return defaultContext;
}

function checkLimits({ device }: GpuContext, { tensors }: CheckedArgs): void {
  const { maxStorageBuffersPerShaderStage, maxStorageBufferBindingSize } = device.limits;
  if (maxStorageBuffersPerShaderStage < NUM_BINDINGS) {
    const was = `limit maxStorageBuffersPerShaderStage is ${maxStorageBuffersPerShaderStage}`;
    throw new ArgumentError("device", was, `at least ${NUM_BINDINGS}; ask for it when the device is requested`);
  }
  for (const tensor of Object.values(tensors)) {
    if (tensor === undefined) continue;
    const bytes = "byteLength" in tensor.data ? tensor.data.byteLength : tensor.data.size;
    if (bytes > maxStorageBufferBindingSize) {
      throw new ArgumentError(
        tensor.name,
        `${bytes} bytes`,
        `at most ${maxStorageBufferBindingSize}, which the device binds`,
      );
    }
  }
}
