import { describe, expect, it } from "vitest";
import { type KernelSpec, Kernels, shaderSource } from "../../kernels/index.ts";
import { FAMILIES, readF32, readU32, submit, useGpu } from "../support/gpu.ts";

const test = useGpu();
const context = () => {
  return test.context(FAMILIES[0]);
};
const SILU: KernelSpec = {
  shader: ["thread_index", "product_sum", "silu", "gated", "activation_rows", "silu_mul"],
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

  it("leave out what the pass has set already: immediates last from kernel to kernel", async () => {
    const { kernels, pool } = context();
    const silu = await Promise.all(
      [4, 8].map(async (size) => {
        const out = pool.upload(new Float32Array(64).fill(7), "out");
        const gateUp = pool.upload(new Float32Array(128).fill(1), "gateUp");
        return {
          out,
          size,
          kernel: await kernels.bind(
            { ...SILU, constants: { ...SILU.constants, SIZE: size, PART_COLUMNS: size / 2, X_COLUMNS: size / 4 } },
            [gateUp, out],
          ),
        };
      }),
    );
    const merged = pool.upload(new Float32Array(64).fill(7), "merged");
    const merge = await kernels.bind(
      {
        shader: ["thread_index", "io_f32", "attention_rows", "attention_out_rows", "attention_merge"],
        constants: {
          ...{ ROW_HEADS: 1, NUM_HEADS: 1, NUM_KV_HEADS: 1, HEAD_DIM: 4, INFO_HEADS: 1, MATRIX: 0, HAS_BIAS: 0 },
          ...{ TREE_BUFFERS: 0, HEAD_MAJOR: 0, WORKGROUP_SIZE: 16, GRID_WIDTH: 16 },
        },
        numImmediates: 8,
      },
      [
        merged,
        pool.upload(
          Float32Array.from({ length: 64 }, (_, i) => i),
          "partial",
        ),
        pool.upload(new Float32Array(64).fill(1), "stats"),
        pool.storage(256, "rowInfo"),
      ],
    );
    const mergeWords = (numRows: number, stride: number) => [numRows, stride, 1, 16, 64, 0, 0, 0];
    // Rows 3, then 3 with a stride of 2, then 3 again without setting it, in kernels with one immediate and with eight.
    const sizes = [[3], mergeWords(3, 2), [3], mergeWords(3, 2)].map((words) => Uint32Array.from(words));
    const order = [silu[0]?.kernel, merge, silu[1]?.kernel, merge] as const;
    const dispatches = order.map((kernel, i) => (pass: GPUComputePassEncoder) => {
      kernel?.dispatch(pass, [1, 1, 1], sizes[i] ?? new Uint32Array());
    });
    await submit(context(), dispatches);
    const numWritten = async (buffer: GPUBuffer) =>
      (await readF32(context(), buffer, 64)).filter((value) => value !== 7).length;
    expect(await Promise.all(silu.map(({ out }) => numWritten(out)))).toEqual([12, 24]);
    expect([...(await readF32(context(), merged, 13))]).toEqual([0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 7]);
    // A new pass has nothing set: it must not go by what the one before it had.
    await submit(context(), [(pass) => merge.dispatch(pass, [1, 1, 1], Uint32Array.from(mergeWords(3, 1)))]);
    await submit(context(), [(pass) => merge.dispatch(pass, [1, 1, 1], Uint32Array.from(mergeWords(3, 1)))]);
    expect([...(await readF32(context(), merged, 13))]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 7]);
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
