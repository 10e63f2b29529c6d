import { describe, expect, it } from "vitest";
import { type KernelSpec, Kernels, shaderSource } from "../../kernels/index.ts";
import { FAMILIES, readU32, submit, useGpu } from "../support/gpu.ts";

const test = useGpu();
const context = () => {
  return test.context(FAMILIES[0]);
};
const SILU: KernelSpec = {
  shader: ["thread_index", "product_sum", "activation_rows", "silu_mul"],
  constants: {
    ...{ SIZE: 4, WORKGROUP_SIZE: 32, GRID_WIDTH: 32 },
    ...{ PART_ROWS: 1, PART_COLUMNS: 2, NUM_RANGES: 1, x_t: "f32", X_COLUMNS: 1 },
  },
  numImmediates: 1,
};

describe("the source of a spec", () => {
  it("has extensions first, then the generated block, then its files in order", () => {
    const constants = { kv_t: "f16", HEAD_DIM: 64, SCALE: 0.125 };
    const source = shaderSource({ shader: ["gumbel", "silu_mul"], constants, enables: ["f16"], numImmediates: 1 });
    const inOrder = [
      "enable f16;",
      "alias kv_t = f16;",
      "const HEAD_DIM = 64;",
      "const SCALE = 1.25e-1;",
      "fn gumbel",
      "fn main",
    ];
    const places = inOrder.map((part) => source.indexOf(part));
    expect(places).not.toContain(-1);
    expect(places).toEqual([...places].sort((a, b) => a - b));
  });

  it.each([1 / 3, 1e-5, 1 / Math.sqrt(40), 1e-12])("writes %f so that no bit is lost", (value) => {
    const source = shaderSource({ shader: ["silu_mul"], constants: { VALUE: value }, numImmediates: 1 });
    expect(Number(/const VALUE = (.*);/.exec(source)?.[1])).toBe(value);
  });
});

describe("kernels of a device", () => {
  it("compile each distinct spec once", async () => {
    const kernels = new Kernels(context().device);
    const [first, same] = await Promise.all([kernels.pipeline(SILU), kernels.pipeline({ ...SILU })]);
    expect(same).toBe(first);
    expect(await kernels.pipeline({ ...SILU, constants: { ...SILU.constants, SIZE: 8 } })).not.toBe(first);
  });

  it("do nothing for a grid with a zero in it", async () => {
    const { kernels, pool } = context();
    const out = pool.upload(Uint32Array.of(7, 7, 7, 7), "out");
    const kernel = await kernels.bind(SILU, [pool.upload(new Float32Array(8).fill(1), "gateUp"), out]);
    const one = Uint32Array.of(1);
    await submit(context(), [
      (pass) => kernel.dispatch(pass, [0, 1, 1], one),
      (pass) => kernel.dispatch(pass, [1, 0, 1], one),
      (pass) => kernel.dispatch(pass, [1, 1, 0], one),
    ]);
    expect([...(await readU32(context(), out, 4))]).toEqual([7, 7, 7, 7]);
  });

  it("a shader that does not compile is refused with the compiler's message", async () => {
    const { device, guard } = context();
    const { SIZE, ...others } = SILU.constants;
    expect(SIZE).toBe(4);
    const broken = { ...SILU, constants: others };
    const refused = new Kernels(device).pipeline(broken);
    await expect(refused).rejects.toMatchObject({
      code: "shader_invalid",
      message: expect.stringMatching(/silu_mul.*SIZE/s),
    });
    // The error was the caller's, once: the device goes on.
    expect(await guard.run(async () => "next step")).toBe("next step");
  });
});
