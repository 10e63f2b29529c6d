import { type ParseArgsConfig, parseArgs } from "node:util";

/** An option of a suite. Texts without a default may be left out; switches are off by default. */
export type Option = Readonly<
  | { type: "string"; value: string; default?: string; help: string }
  | { type: "boolean"; help: string; value?: never; default?: never }
>;
export type Options = Readonly<Record<string, Option>>;
/** Parsed options, by name. */
export type Values<O extends Options> = {
  readonly [K in keyof O]: O[K] extends { type: "boolean" }
    ? boolean
    : O[K] extends { default: string }
      ? string
      : string | undefined;
};

/** Prints a line for a reader; says nothing where the figures are wanted as JSON. */
export type Print = (line: string) => void;

/** A benchmark of the command line. */
export interface Suite {
  readonly summary: string;
  readonly options: Options;
  run(args: readonly string[]): Promise<void>;
}

/** Every suite has them. */
const COMMON = {
  adapter: { type: "string", value: "auto|gpu|software", default: "auto", help: "where to run" },
  json: { type: "boolean", help: "print the figures as JSON instead" },
} as const satisfies Options;

/** @param measure prints as it goes, and returns all figures */
export function defineSuite<const O extends Options>(
  summary: string,
  options: O,
  measure: (values: Values<O & typeof COMMON>, print: Print) => Promise<object>,
): Suite {
  const all: Options = { ...options, ...COMMON };
  return {
    summary,
    options: all,
    async run(args) {
      const values = readValues(all, args) as Values<O & typeof COMMON>;
      const json = values.json === true;
      const figures = await measure(values, json ? () => {} : console.log);
      if (json) console.log(JSON.stringify(figures, null, 2));
    },
  };
}

/** @throws TypeError for an option that the suite does not have */
function readValues(options: Options, args: readonly string[]): Readonly<Record<string, unknown>> {
  const switches = Object.entries(options).filter(([, { type }]) => type === "boolean");
  const config: ParseArgsConfig["options"] = Object.fromEntries(
    Object.entries(options).map(([name, option]) => [
      name,
      option.default === undefined ? { type: option.type } : { type: option.type, default: option.default },
    ]),
  );
  const { values } = parseArgs({ args: [...args], options: config });
  return { ...Object.fromEntries(switches.map(([name]) => [name, false])), ...values };
}

/** "1,8,16" as numbers. @throws RangeError for anything but positive integers */
export function positiveIntegers(text: string): number[] {
  const numbers = text.split(",").map(Number);
  if (numbers.every((number) => Number.isInteger(number) && number > 0)) return numbers;
  throw new RangeError(`${text}: positive integers expected`);
}

/** @throws RangeError unless `text` is one positive integer */
export function positiveInteger(text: string): number {
  const [number = 0, second] = positiveIntegers(text);
  if (second !== undefined) throw new RangeError(`${text}: one number expected`);
  return number;
}

/** @throws RangeError naming the choices */
export function oneOf<T extends string>(choices: readonly T[], text: string): T {
  const found = choices.find((choice) => choice === text);
  if (found === undefined) throw new RangeError(`${text} is none of ${choices.join(", ")}`);
  return found;
}

/** Help on all suites, from the suites themselves. */
export function helpText(suites: Readonly<Record<string, Suite>>): string {
  const names = Object.keys(suites);
  const sections = Object.entries(suites).map(([name, { summary, options }]) => {
    const own = Object.entries(options).filter(([option]) => !(option in COMMON));
    return [`${name}: ${summary}`, ...own.map(describe)].join("\n");
  });
  const common = ["of every suite:", ...Object.entries(COMMON).map(describe)].join("\n");
  return [`Usage: npm run bench -- [${names.join("|")}] [options]`, ...sections, common].join("\n\n");
}

function describe([name, option]: readonly [string, Option]): string {
  const flag = option.type === "string" ? `--${name} ${option.value}` : `--${name}`;
  const fallback = option.default === undefined ? "" : ` (default ${option.default})`;
  return `  ${flag.padEnd(34)} ${option.help}${fallback}`;
}
