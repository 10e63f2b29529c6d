import { type StreamRecord, streamChat } from "./sse-client.ts";

export interface LoadOptions {
  readonly url: string;
  /** Requests under way at a time. */
  readonly streams: number;
  readonly seconds: number;
  /** Requests a second on average, arriving at random (Poisson); undefined: each stream sends its next when its last has ended. */
  readonly rate?: number;
  /** The i-th request's body. */
  readonly body: (i: number) => object;
  /** In [0, 1). */
  readonly random: () => number;
}

export interface LoadRun {
  readonly records: readonly StreamRecord[];
  /** From the first request to the end of the last. */
  readonly seconds: number;
}

/** Keeps a server busy for a while, and waits until the last answer has ended. */
export async function runLoad(options: LoadOptions): Promise<LoadRun> {
  const startMs = performance.now();
  const records: StreamRecord[] = [];
  const isOver = () => performance.now() - startMs >= 1000 * options.seconds;
  let numSent = 0;
  const send = async () => {
    records.push(await streamChat(options.url, options.body(numSent++)));
  };
  if (options.rate === undefined) {
    const stream = async () => {
      do await send();
      while (!isOver());
    };
    await Promise.all(Array.from({ length: options.streams }, stream));
  } else {
    const sent: Promise<void>[] = [];
    while (!isOver()) {
      sent.push(send());
      const gapMs = (-1000 * Math.log(1 - options.random())) / options.rate;
      await new Promise((resolve) => setTimeout(resolve, gapMs));
    }
    await Promise.all(sent);
  }
  return { records, seconds: (performance.now() - startMs) / 1000 };
}
