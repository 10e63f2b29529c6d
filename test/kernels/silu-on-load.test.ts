import { expect, it } from "vitest";
import {
  type Binding,
  type BoundKernel,
  checkSiluOnLoad,
  chooseKernels,
  type GpuContext,
  type KernelSpec,
} from "../../kernels/index.ts";
import { FAMILIES, MATRIX, useGpu } from "../support/gpu.ts";
import { EmulatedMatrices } from "./emulated-matrices.ts";
import { productOf } from "./tuning/products.ts";

const test = useGpu();

/** Kernels of the matrix family, with its smallest tile only. */
const context = (kernels: EmulatedMatrices): GpuContext => ({
  ...test.context(MATRIX),
  ...{ kernels, family: { ...MATRIX, rowTiles: [8] } },
});

/** Products that make their inputs themselves leave out the second range of gates and ups, once they are told to. */
class OtherInputs extends EmulatedMatrices {
  isWrong = false;

  override bind(spec: KernelSpec, buffers: readonly Binding[]): Promise<BoundKernel> {
    const isWrong = this.isWrong && spec.shader.includes("matmul_inputs_gated");
    return super.bind(isWrong ? { ...spec, constants: { ...spec.constants, NUM_RANGES: 1 } } : spec, buffers);
  }
}

it("SiLU on load gives the bits of a kernel of its own; where it does not, a choice of kernels says so", async () => {
  const kernels = new OtherInputs(test.context(MATRIX).device);
  const choose = () =>
    chooseKernels({ adapterName: "emulated", driver: "", features: [] }, context(kernels), [productOf(128, 64)], {
      ...{ cacheDir: "/dev/null/none", timer: undefined, chosen: new Map(), now: () => 0 },
    });
  const choice = await choose();
  expect(choice).not.toHaveProperty("siluApart");
  kernels.isWrong = true;
  expect(await choose()).toEqual({ ...choice, siluApart: true });
});

it.each(FAMILIES)("there is nothing to compare in the $name family", async (family) => {
  const kernels = new EmulatedMatrices(test.context(family).device);
  kernels.bind = () => Promise.reject(new Error("bound a kernel"));
  expect(await checkSiluOnLoad({ ...test.context(family), kernels }, [family.storage])).toBe(true);
});
