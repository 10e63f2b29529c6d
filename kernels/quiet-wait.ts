/** Turns of the event loop that Dawn may take at once before it is made to wait: enough for what ends in a moment. */
const TURNS_AT_ONCE = 16;
/** Node's shortest. */
const PAUSE_MS = 1;

type Callback = (...args: unknown[]) => void;

export interface EventLoop {
  setImmediate(callback: Callback, ...args: unknown[]): unknown;
  setTimeout(callback: Callback, ms: number): unknown;
}

/**
 * A `setImmediate` that makes Dawn wait without spinning. While a promise of its is pending, Dawn asks its device for news in every
 * turn of the event loop: one native function that calls `setImmediate` with itself again and again. A software adapter computes
 * on the same cores, of which that takes a whole one: on two cores, passes take two to three times as long. So after a few turns
 * without a pause such a function is called every millisecond.
 */
export function quietImmediate(loop: EventLoop): (callback: Callback, ...args: unknown[]) => unknown {
  let numTurns = 0;
  let isTurn = false;
  return (callback, ...args) => {
    if (!isPoll(callback, args)) return loop.setImmediate(callback, ...args);
    numTurns = isTurn ? numTurns + 1 : 0;
    const turn = () => {
      isTurn = true;
      try {
        callback();
      } finally {
        isTurn = false;
      }
    };
    return numTurns < TURNS_AT_ONCE ? loop.setImmediate(turn) : loop.setTimeout(turn, PAUSE_MS);
  };
}

/** Native, without a name or parameters: not a promise's resolve, which has one. */
function isPoll(callback: Callback, args: readonly unknown[]): boolean {
  const { name, length } = callback;
  return (
    args.length + length === 0 &&
    name === "" &&
    Function.prototype.toString.call(callback).endsWith("{ [native code] }")
  );
}

let isQuiet = false;

/** From now on, Dawn waits without spinning in this process. */
export function waitQuietly(): void {
  if (isQuiet) return;
  isQuiet = true;
  const { setImmediate, setTimeout } = globalThis;
  globalThis.setImmediate = Object.assign(
    quietImmediate({ setImmediate, setTimeout }),
    setImmediate,
  ) as typeof setImmediate;
}
