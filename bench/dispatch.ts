import {
  type AdapterChoice,
  type BoundKernel,
  createGpuContext,
  type GpuContext,
  openGpu,
  PassTimer,
} from "../kernels/index.ts";
import { median } from "./median.ts";

/** What one of many tiny dispatches costs, each of which depends on the one before it. Medians, in µs. */
export interface DispatchCost {
  /** What changes from dispatch to dispatch. */
  readonly changes: string;
  /** Host, to encode it. */
  readonly encodeUs: number;
  /** Host, its share of finish and submit. */
  readonly submitUs: number;
  /** Device, where it has timestamps. */
  readonly deviceUs?: number;
}

export interface DispatchFigures {
  readonly adapter: string;
  readonly numDispatches: number;
  readonly costs: readonly DispatchCost[];
  /** From submit to 64 bytes read back, in µs. */
  readonly readbackUs: number;
  /** A step of `numDispatches` whose 64 bytes are read back: one at a time, and with a second one in flight, in µs. */
  readonly stepUs: readonly [oneInFlight: number, twoInFlight: number];
}

type Encode = (pass: GPUComputePassEncoder) => void;

const READ_BYTES = 64;
const NUM_ROUNDS = 30;

export async function measureDispatch(choice: AdapterChoice, numDispatches: number): Promise<DispatchFigures> {
  const device = await openGpu(choice);
  const gpu = createGpuContext(device);
  try {
    const cases = await makeCases(gpu, numDispatches);
    const costs: DispatchCost[] = [];
    for (const [changes, encode] of cases) costs.push({ changes, ...(await measureCase(gpu, encode, numDispatches)) });
    const readbackUs = await measureSteps(gpu, () => {}, 1);
    const busiest = cases.at(-1)?.[1] ?? (() => {});
    const stepUs = [await measureSteps(gpu, busiest, 1), await measureSteps(gpu, busiest, 2)] as const;
    return { adapter: device.adapterName, numDispatches, costs, readbackUs, stepUs };
  } finally {
    gpu.pool.destroyAll();
    device.close();
  }
}

/** The engine's own kernels and its own way to dispatch them, over a handful of numbers. */
async function makeCases(gpu: GpuContext, numDispatches: number): Promise<[changes: string, encode: Encode][]> {
  const [a, b] = ["a", "b"].map((name) => gpu.pool.upload(new Float32Array(16), name)) as [GPUBuffer, GPUBuffer];
  const copy = (size: number, from: GPUBuffer, to: GPUBuffer) =>
    gpu.kernels.bind(
      {
        shader: ["thread_index", "activation_rows", "pack_activation"],
        constants: { X_COLUMNS: size / 4, x_t: "f32", WORKGROUP_SIZE: 32, GRID_WIDTH: 32 },
        numImmediates: 1,
      },
      [from, to],
    );
  const [there, back, otherBack] = await Promise.all([copy(4, a, b), copy(4, b, a), copy(8, b, a)]);
  const one = Uint32Array.of(1);
  const other = Uint32Array.of(2);
  const alternate = (even: BoundKernel, odd: BoundKernel, oddWords: Uint32Array<ArrayBuffer>): Encode => {
    return (pass) => {
      for (let i = 0; i < numDispatches; i += 2) {
        even.dispatch(pass, [1, 1, 1], one);
        odd.dispatch(pass, [1, 1, 1], oddWords);
      }
    };
  };
  return [
    ["nothing", alternate(there, there, one)],
    ["immediates", alternate(there, there, other)],
    ["bind group", alternate(there, back, one)],
    ["pipeline, bind group", alternate(there, otherBack, one)],
    ["pipeline, bind group, immediates", alternate(there, otherBack, other)],
  ];
}

async function measureCase(gpu: GpuContext, encode: Encode, numDispatches: number) {
  const { device, pool } = gpu;
  const timer = device.features.has("timestamp-query") ? new PassTimer(device, pool, 1) : undefined;
  const [encodeUs, submitUs, deviceUs] = [[], [], []] as [number[], number[], number[]];
  for (let round = 0; round < NUM_ROUNDS; round++) {
    const startMs = performance.now();
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass(timer ? { timestampWrites: timer.writes(0) } : {});
    encode(pass);
    pass.end();
    const encodedMs = performance.now();
    timer?.resolve(encoder);
    device.queue.submit([encoder.finish()]);
    const submittedMs = performance.now();
    await device.queue.onSubmittedWorkDone();
    encodeUs.push((1000 * (encodedMs - startMs)) / numDispatches);
    submitUs.push((1000 * (submittedMs - encodedMs)) / numDispatches);
    if (timer) deviceUs.push((1000 * ((await timer.read())[0] ?? 0)) / numDispatches);
  }
  const host = { encodeUs: median(encodeUs), submitUs: median(submitUs) };
  return timer ? { ...host, deviceUs: median(deviceUs) } : host;
}

/** Mean time of a step that is encoded, submitted and read back, with so many in flight. */
async function measureSteps({ device, pool }: GpuContext, encode: Encode, numInFlight: number): Promise<number> {
  const source = pool.storage(READ_BYTES, "source");
  const targets = Array.from({ length: numInFlight }, (_, i) => pool.readback(READ_BYTES, `target.${i}`));
  const submit = async (target: GPUBuffer) => {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    encode(pass);
    pass.end();
    encoder.copyBufferToBuffer(source, 0, target, 0, READ_BYTES);
    device.queue.submit([encoder.finish()]);
    await target.mapAsync(GPUMapMode.READ);
    target.unmap();
  };
  const run = async (numSteps: number) => {
    const inFlight: Promise<void>[] = [];
    for (let i = 0; i < numSteps; i++) {
      if (inFlight.length === numInFlight) await inFlight.shift();
      const target = targets[i % numInFlight];
      if (target) inFlight.push(submit(target));
    }
    await Promise.all(inFlight);
  };
  await run(4);
  const startMs = performance.now();
  await run(NUM_ROUNDS);
  return (1000 * (performance.now() - startMs)) / NUM_ROUNDS;
}
