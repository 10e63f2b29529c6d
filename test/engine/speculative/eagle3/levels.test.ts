import { describe, expect, test } from "vitest";
import { levelTaps } from "../../../../engine/speculative/eagle3/levels.ts";

describe("the levels of a target that EAGLE-3 fuses", () => {
  test.each([
    [7, [2, 3, 4]],
    [8, [2, 4, 5]],
    [32, [2, 16, 29]],
    [61, [2, 30, 58]],
  ])("of %i layers: %j", (numLayers, levels) => {
    expect(levelTaps({ path: "drafter" }, { numLayers })).toEqual(levels);
  });

  test.each([
    ["layers that read them", [2, 16, 29]],
    ["layers that give them", [1, 15, 28]],
  ])("named by the configuration as %s", (_, layerIds) => {
    expect(levelTaps({ path: "drafter", layerIds }, { numLayers: 32 })).toEqual([2, 16, 29]);
  });

  test("others are refused, and so are targets with too few", () => {
    const layerIds = [2, 8, 31];
    expect(() => levelTaps({ path: "drafter", layerIds }, { numLayers: 32 })).toThrow(
      /layers 2, 8, 31 of its target; those of this one are 2, 16, 29/,
    );
    expect(() => levelTaps({ path: "drafter" }, { numLayers: 6 })).toThrow(/6 layers.*at least 7/);
  });
});
