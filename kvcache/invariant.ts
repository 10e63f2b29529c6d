/** The program is wrong, not its caller's input: state that must hold does not. Never a client's error. */
export class InvariantError extends Error {
  override readonly name = "InvariantError";
  readonly code = "invariant_broken";
}

/** @throws InvariantError with `message` when `condition` is false. A function is called only then. */
export function invariant(condition: boolean, message: string | (() => string)): asserts condition {
  if (!condition) throw new InvariantError(typeof message === "string" ? message : message());
}
