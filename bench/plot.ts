#!/usr/bin/env node
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { DecodeFigures } from "./decode.ts";
import type { LoadFigures } from "./load.ts";
import type { Machine } from "./machine.ts";
import type { MatmulReport } from "./matmul.ts";
import { median } from "./median.ts";
import { linePlot, type Series } from "./svg.ts";

// node dist/bench/plot.js FOLDER FILE.json…: draws what `decode`, `matmul` and `load` printed with `--json`, into FOLDER.

interface LoadReport {
  readonly machine: Machine;
  readonly figures: readonly LoadFigures[];
}

type Figures =
  | (DecodeFigures & { readonly suite: "decode" })
  | (MatmulReport & { readonly suite: "matmul" })
  | (LoadReport & { readonly suite: "load" });

/** T(M) / T(1) on the device, a line for each model. */
function verifySeries(decodes: readonly DecodeFigures[]): Series[] {
  return decodes.map(({ model, formats, verifyCost }) => ({
    name: `${model.replace("synthetic-", "")} ${formats.join(", ")}`,
    points: verifyCost.flatMap(({ numRows, deviceRatio }) =>
      deviceRatio === undefined ? [] : [[numRows, deviceRatio]],
    ),
  }));
}

/**
 * A roofline's points: operations for each byte of weights, and operations a second (1e12) reached. A product of M rows does
 * 2 · M · inputs · outputs of them; the roof is the bandwidth of copies.
 */
function rooflineSeries({ model, copyGigabytesPerSecond, figures }: MatmulReport): Series[] {
  const all = figures.map(({ format, numOutputs, numInputs, us, gigabytesPerSecond }) => {
    const bytes = gigabytesPerSecond * (us[1] ?? 0) * 1e3;
    const points = Object.entries(us).map(([rows, time]) => {
      const operations = 2 * Number(rows) * numOutputs * numInputs;
      return [operations / bytes, operations / time / 1e6] as const;
    });
    return { name: `${model} ${format} ${numOutputs} × ${numInputs}`, points };
  });
  const intensities = all.flatMap(({ points }) => points.map(([x]) => x));
  const ends = [Math.min(...intensities), Math.max(...intensities)];
  const roof = ends.map((x) => [x, (x * copyGigabytesPerSecond) / 1e3] as const);
  return [{ name: `copy, ${copyGigabytesPerSecond.toFixed(0)} GB/s`, points: roof }, ...all];
}

/** Tokens a second over those of plain decoding, the first contender, by streams: medians of the rounds' ratios, as the machine is not as fast in the next round. */
function loadSeries(figures: readonly LoadFigures[]): Series[] {
  const names = [...new Set(figures.map(({ contender }) => contender))];
  const rates = new Map(figures.map(({ contender, numStreams, rates }) => [`${contender} ${numStreams}`, rates]));
  return names.map((name) => ({
    name,
    points: figures.flatMap(({ contender, numStreams, rates: own }) => {
      const plain = rates.get(`${names[0]} ${numStreams}`);
      if (contender !== name || plain === undefined) return [];
      return [[numStreams, median(own.map((rate, round) => rate / (plain[round] ?? rate)))]];
    }),
  }));
}

const [folder, ...files] = process.argv.slice(2);
if (folder === undefined || files.length === 0) throw new Error("usage: node dist/bench/plot.js FOLDER FILE.json…");
const figures = files.map((file) => JSON.parse(readFileSync(file, "utf8")) as Figures);
const decodes = figures.filter((figure) => figure.suite === "decode");
if (decodes.length > 0) {
  const title = `Cost of verifying M rows, ${decodes[0]?.adapter}`;
  const axes = { title, x: "M, rows of a verify pass", y: "T(M) / T(1), device" };
  writeFileSync(join(folder, "verify-cost.svg"), linePlot(axes, verifySeries(decodes)));
}
for (const { machine, figures: ofLoad } of figures.filter((figure) => figure.suite === "load")) {
  const axes = { title: `Tokens/s under load, ${machine.adapter}`, x: "streams", y: "tokens/s, of plain decoding's" };
  writeFileSync(
    join(folder, `load-${machine.adapter.split(/[ -]/)[0]?.toLowerCase()}.svg`),
    linePlot(axes, loadSeries(ofLoad)),
  );
}
for (const report of figures.filter((figure) => figure.suite === "matmul")) {
  const axes = {
    title: `Products of ${report.model}, ${report.adapter}`,
    x: "operations a byte",
    y: "10¹² operations / s",
  };
  writeFileSync(join(folder, `roofline-${report.model}.svg`), linePlot(axes, rooflineSeries(report)));
}
