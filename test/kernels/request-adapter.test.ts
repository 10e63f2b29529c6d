import { expect, test } from "vitest";
import { type AdapterChoice, requestAdapter } from "../../kernels/request-adapter.ts";

const adapter = (device: string, isFallbackAdapter = false) =>
  ({ info: { device, description: "", isFallbackAdapter } }) as GPUAdapter;
const GPU_ADAPTER = adapter("NVIDIA H200");
const LLVMPIPE = adapter("llvmpipe (LLVM 19, 256 bits)");
const SWIFTSHADER = adapter("SwiftShader Device", true);

/** Of what machines may have; Dawn gives the preferred one where there is no fallback. */
function instance(preferred: GPUAdapter | null, fallback: GPUAdapter | null) {
  return {
    requestAdapter: async (options?: GPURequestAdapterOptions) =>
      options?.forceFallbackAdapter ? fallback : preferred,
  };
}

test.each<[string, GPUAdapter | null, GPUAdapter | null, Record<AdapterChoice, GPUAdapter | undefined>]>([
  ["a GPU alone", GPU_ADAPTER, GPU_ADAPTER, { auto: GPU_ADAPTER, gpu: GPU_ADAPTER, software: undefined }],
  [
    "a GPU and a software adapter",
    GPU_ADAPTER,
    SWIFTSHADER,
    { auto: GPU_ADAPTER, gpu: GPU_ADAPTER, software: SWIFTSHADER },
  ],
  [
    "llvmpipe, which does not call itself a fallback",
    LLVMPIPE,
    null,
    { auto: LLVMPIPE, gpu: undefined, software: LLVMPIPE },
  ],
  [
    "SwiftShader where it is asked for alone",
    null,
    SWIFTSHADER,
    { auto: SWIFTSHADER, gpu: undefined, software: SWIFTSHADER },
  ],
  ["nothing", null, null, { auto: undefined, gpu: undefined, software: undefined }],
])("of a machine with %s each choice has what it names, or nothing", async (_, preferred, fallback, expected) => {
  for (const choice of ["auto", "gpu", "software"] as const) {
    expect(await requestAdapter(instance(preferred, fallback), choice), choice).toBe(expected[choice]);
  }
});
