import {
  type AttentionFigure,
  DEFAULT_HEADS,
  measureAttention,
  parseHeads,
  parseShape,
  parseVariant,
  TABLE_SHAPES,
} from "../attention.ts";
import { withDevice } from "../bench-device.ts";
import { defineSuite, oneOf } from "../suite.ts";

export const attention = defineSuite(
  "device time of tree attention alone (f16), each result checked against f64 first",
  {
    shapes: {
      ...{ type: "string", value: "B×R×C,…" },
      help: "sequences, tree nodes, cached keys, e.g. 1x16x64,8x64x4096; a table of 36 where it is not given",
    },
    heads: {
      ...{ type: "string", value: "H×K×D" },
      help: "heads, KV heads, head size, e.g. 32x8x64; 32x32x128 where it is not given",
    },
    variants: {
      ...{ type: "string", value: "NAME:SPLIT,…" },
      help: "kernels and split sizes, e.g. matrix32:512,subgroup:256; by device where it is not given",
    },
  },
  async ({ adapter, shapes, heads, variants }, print) => {
    const wanted = variants === undefined ? undefined : variants.split(",").map(parseVariant);
    const list = shapes === undefined ? TABLE_SHAPES : shapes.split(",").map(parseShape);
    const shape = heads === undefined ? DEFAULT_HEADS : parseHeads(heads);
    return withDevice(oneOf(["auto", "gpu", "software"], adapter), async (on) => {
      const figures: AttentionFigure[] = [];
      for await (const figure of measureAttention(on, shape, list, wanted)) {
        figures.push(figure);
        print(formatFigure(figure));
      }
      return { suite: "attention", adapter: on.device.adapterName, heads: shape, figures };
    });
  },
);

function formatFigure({ variant, batch, rows, context, warmUs, coldUs, maxError }: AttentionFigure): string {
  const shape = `${batch} × ${rows} × ${context}`.padEnd(15);
  const figures = [`${warmUs.toFixed(1)} µs`, `cold ${coldUs.toFixed(1)} µs`, `error ${maxError.toExponential(1)}`];
  return [shape, variant.padEnd(14), ...figures.map((figure) => figure.padStart(16))].join(" ");
}
