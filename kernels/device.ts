import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { create, globals } from "webgpu";
import { GpuError } from "./errors.ts";
import { waitQuietly } from "./quiet-wait.ts";
import { type AdapterChoice, isSoftware, requestAdapter } from "./request-adapter.ts";
import { installSwiftShader } from "./swiftshader.ts";

/** What the kernels need to know of the machine that runs them. */
export interface DeviceTraits {
  /** A processor pretending to be a GPU: barriers are slow there, and so is everything else. */
  readonly software: boolean;
  /** Smallest and largest subgroup the adapter may use; [0, 0] without subgroups. */
  readonly subgroupSizes: readonly [min: number, max: number];
  readonly f16: boolean;
  /** Subgroups of 32 that multiply f16 matrices of 16 × 16 and 16 × 8 into f32 sums. */
  readonly matrices: boolean;
}

/** An open device. Close it once; nothing of it may be used afterwards. */
export interface Gpu {
  readonly device: GPUDevice;
  readonly traits: DeviceTraits;
  /** E.g. "NVIDIA H100 80GB HBM3 (Vulkan)". */
  readonly adapterName: string;
  readonly driver: string;
  readonly features: readonly string[];
  close(): void;
}

/** Dawn's instance must outlive every object made from it: dropping it crashes the process. */
const instances: GPU[] = [];

const MATRIX_FEATURE = "chromium-experimental-subgroup-matrix" as GPUFeatureName;
const WANTED_FEATURES: readonly GPUFeatureName[] = [
  "shader-f16",
  "subgroups",
  "timestamp-query",
  MATRIX_FEATURE,
  "subgroup-size-control" as GPUFeatureName,
];

/**
 * Opens an adapter: a real GPU first, then a software adapter of the system, then the bundled SwiftShader.
 * @throws GpuError no_adapter, saying what to install.
 */
export async function openGpu(choice: AdapterChoice = "auto", cacheDir: string = defaultCacheDir()): Promise<Gpu> {
  // Mesa complains on stderr at each start without it.
  process.env.XDG_RUNTIME_DIR ??= tmpdir();
  Object.assign(globalThis, globals);
  if (hasSystemLoader()) {
    const system = await requestAdapter(newInstance(), choice);
    if (system !== undefined) return open(system);
  }
  if (choice !== "gpu" && installSwiftShader(cacheDir)) {
    const bundled = await requestAdapter(newInstance(), "software");
    if (bundled !== undefined) return open(bundled);
  }
  throw new GpuError("no_adapter", noAdapterMessage(choice));
}

/** Dawn prints a warning where it finds no Vulkan loader, so ask first. */
function hasSystemLoader(): boolean {
  if (process.platform !== "linux") return true;
  try {
    process.dlopen({ exports: {} } as unknown as NodeModule, "libvulkan.so.1");
  } catch (error) {
    return !(error instanceof Error && error.message.includes("cannot open shared object"));
  }
  return true;
}

/**
 * Without robustness the kernels' own bounds are the only ones (tests run them with it too): on SwiftShader a
 * one-row product is 1.6 times as fast. Validation stays on: steps are gated on its errors.
 */
function newInstance(): GPU {
  const instance = create([
    "enable-dawn-features=allow_unsafe_apis,disable_robustness,vulkan_enable_f16_on_nvidia",
    "disable-dawn-features=timestamp_quantization,enable_spirv_validation",
  ]);
  instances.push(instance);
  return instance;
}

async function open(adapter: GPUAdapter): Promise<Gpu> {
  const { info, limits } = adapter;
  const requiredFeatures = WANTED_FEATURES.filter((feature) => adapter.features.has(feature));
  const device = await adapter.requestDevice({
    requiredFeatures,
    requiredLimits: {
      maxBufferSize: limits.maxBufferSize,
      maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
      maxComputeWorkgroupStorageSize: limits.maxComputeWorkgroupStorageSize,
      maxComputeInvocationsPerWorkgroup: limits.maxComputeInvocationsPerWorkgroup,
      maxComputeWorkgroupSizeX: limits.maxComputeWorkgroupSizeX,
      maxStorageBuffersPerShaderStage: limits.maxStorageBuffersPerShaderStage,
    },
  });
  if (isSoftware(adapter)) waitQuietly();
  return {
    device,
    traits: deviceTraits(adapter),
    adapterName: adapterName(info),
    driver: info.description,
    features: requiredFeatures,
    close: () => device.destroy(),
  };
}

/** Of an adapter, or of a device with what it was opened with. */
export function deviceTraits(source: Pick<GPUAdapter, "features" | "info">): DeviceTraits {
  const { features, info } = source;
  return {
    software: isSoftware(source),
    subgroupSizes: features.has("subgroups") ? [info.subgroupMinSize ?? 4, info.subgroupMaxSize ?? 128] : [0, 0],
    f16: features.has("shader-f16"),
    matrices: multipliesMatrices(source),
  };
}

/** A configuration of Dawn's feature, which @webgpu/types does not know yet. */
interface SubgroupMatrixConfig {
  readonly componentType: string;
  readonly resultComponentType: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

function multipliesMatrices({ features, info }: Pick<GPUAdapter, "features" | "info">): boolean {
  if (!features.has(MATRIX_FEATURE) || info.subgroupMinSize !== 32 || info.subgroupMaxSize !== 32) return false;
  const { subgroupMatrixConfigs = [] } = info as { subgroupMatrixConfigs?: readonly SubgroupMatrixConfig[] };
  return [8, 16].every((numTokens) =>
    subgroupMatrixConfigs.some(
      ({ componentType, resultComponentType, M, N, K }) =>
        componentType === "f16" && resultComponentType === "f32" && M === 16 && N === numTokens && K === 16,
    ),
  );
}

function adapterName(info: GPUAdapterInfo): string {
  if (info.architecture === "swiftshader") return "SwiftShader (software)";
  const name = info.device === "" ? info.architecture : info.device;
  return name.toLowerCase().includes(info.vendor.toLowerCase()) ? name : `${info.vendor} ${name}`;
}

/** Where what is unpacked and measured is kept from one start to the next. */
export function defaultCacheDir(): string {
  return join(homedir() || tmpdir(), ".cache", "canopy");
}

function noAdapterMessage(choice: AdapterChoice): string {
  const install =
    "Install a Vulkan loader and driver (Debian and Ubuntu: libvulkan1 mesa-vulkan-drivers with Mesa 24 or newer, or " +
    "NVIDIA's driver; in a container: NVIDIA_DRIVER_CAPABILITIES=graphics,compute,utility or --device /dev/dri)";
  return choice === "gpu"
    ? `No GPU was found through Vulkan, Metal or D3D12. ${install}, or use --adapter auto to run on a software adapter.`
    : `No WebGPU adapter was found, not even a software one. ${install}, or reinstall with optional packages so that the bundled SwiftShader (Linux x64) is there.`;
}
