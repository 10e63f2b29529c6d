import { afterAll } from "vitest";
import { SharedDevice } from "../../bench/shared-device.ts";

/** `createEngine` for the tests of one file: all engines on one device. They are to be closed before the file ends. */
export function useEngines(): SharedDevice["createEngine"] {
  const shared = new SharedDevice();
  afterAll(() => shared.close());
  return shared.createEngine;
}
