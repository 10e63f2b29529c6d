import { type GpuContext, type Op, siluMul } from "../kernels/index.ts";
import type { BenchDevice } from "./bench-device.ts";
import { median } from "./median.ts";
import type { Encode } from "./timing.ts";

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

const READ_BYTES = 64;
const NUM_ROUNDS = 30;
/** Words of a buffer: more than the kernel's rows and padding need. */
const ROOM = 64 * 64;

export async function measureDispatch(on: BenchDevice, numDispatches: number): Promise<DispatchFigures> {
  const { device, gpu } = on;
  const cases = await makeCases(gpu, numDispatches);
  const costs: DispatchCost[] = [];
  for (const [changes, encode] of cases) costs.push({ changes, ...(await measureCase(on, encode, numDispatches)) });
  const readbackUs = await measureSteps(gpu, () => {}, 1);
  const busiest = cases.at(-1)?.[1] ?? (() => {});
  const stepUs = [await measureSteps(gpu, busiest, 1), await measureSteps(gpu, busiest, 2)] as const;
  return { adapter: device.adapterName, numDispatches, costs, readbackUs, stepUs };
}

/** One of the engine's own kernels, dispatched as the engine does it, over a handful of numbers that go there and back. */
async function makeCases(gpu: GpuContext, numDispatches: number): Promise<[changes: string, encode: Encode][]> {
  const buffer = (label: string) => gpu.pool.storage(4 * ROOM, label);
  const [a, b] = [buffer("a"), buffer("b")];
  const silu = (from: GPUBuffer, to: GPUBuffer, numInputs: number) => {
    const gateUp = { buffer: from, maxRows: 64, numOutputs: 2 * numInputs, numRanges: 1 };
    return siluMul(gpu, { gateUp, out: { buffer: to, maxRows: 64, numInputs } });
  };
  const [there, back, otherBack] = await Promise.all([silu(a, b, 4), silu(b, a, 4), silu(b, a, 8)]);
  const alternate = (even: Op, odd: Op, oddRows: number): Encode => {
    const evenSize = { numRows: 1, numSplits: 1, numLogits: 0 };
    const oddSize = { ...evenSize, numRows: oddRows };
    return (pass) => {
      for (let i = 0; i < numDispatches; i += 2) {
        even(pass, evenSize);
        odd(pass, oddSize);
      }
    };
  };
  return [
    ["nothing", alternate(there, there, 1)],
    ["immediates", alternate(there, there, 2)],
    ["bind group", alternate(there, back, 1)],
    ["pipeline, bind group", alternate(there, otherBack, 1)],
    ["pipeline, bind group, immediates", alternate(there, otherBack, 2)],
  ];
}

async function measureCase({ gpu, timer }: BenchDevice, encode: Encode, numDispatches: number) {
  const { device } = gpu;
  const hasClock = device.features.has("timestamp-query");
  const deviceUs = hasClock ? (await timer.time(NUM_ROUNDS, encode)).map((ms) => (1000 * ms) / numDispatches) : [];
  const [encodeUs, submitUs]: [number[], number[]] = [[], []];
  for (let round = 0; round < NUM_ROUNDS; round++) {
    const startMs = performance.now();
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    encode(pass);
    pass.end();
    const encodedMs = performance.now();
    device.queue.submit([encoder.finish()]);
    const submittedMs = performance.now();
    await device.queue.onSubmittedWorkDone();
    encodeUs.push((1000 * (encodedMs - startMs)) / numDispatches);
    submitUs.push((1000 * (submittedMs - encodedMs)) / numDispatches);
  }
  const host = { encodeUs: median(encodeUs), submitUs: median(submitUs) };
  return hasClock ? { ...host, deviceUs: median(deviceUs) } : host;
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
