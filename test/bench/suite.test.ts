import { expect, it } from "vitest";
import { defineSuite, helpText, oneOf, positiveInteger, positiveIntegers } from "../../bench/suite.ts";

const echo = (received: object[]) =>
  defineSuite(
    "what it measures",
    {
      size: { type: "string", value: "N", default: "3", help: "how large" },
      name: { type: "string", value: "NAME", help: "of what" },
      fast: { type: "boolean", help: "in a hurry" },
    },
    async (values) => {
      received.push(values);
      return {};
    },
  );

it("gives a suite its own options and the common ones, with defaults", async () => {
  const received: object[] = [];
  await echo(received).run(["--name", "a", "--fast"]);
  await echo(received).run(["--size", "7", "--adapter", "gpu"]);
  expect(received).toEqual([
    { size: "3", name: "a", fast: true, adapter: "auto", json: false },
    { size: "7", fast: false, adapter: "gpu", json: false },
  ]);
});

it("refuses options of other suites", async () => {
  await expect(echo([]).run(["--tokens", "1"])).rejects.toThrow("--tokens");
});

it("composes the help from the suites", () => {
  const help = helpText({ echo: echo([]) });
  for (const part of ["[echo]", "what it measures", "--size N", "(default 3)", "--fast", "--json"]) {
    expect(help).toContain(part);
  }
});

it("reads numbers and choices, and names what it cannot read", () => {
  expect(positiveIntegers("1,8,16")).toEqual([1, 8, 16]);
  expect(positiveInteger("12")).toBe(12);
  for (const text of ["", "0", "-1", "1.5", "x", "1,,2"]) expect(() => positiveIntegers(text)).toThrow(RangeError);
  expect(() => positiveInteger("1,2")).toThrow(RangeError);
  expect(oneOf(["a", "b"], "b")).toBe("b");
  expect(() => oneOf(["a", "b"], "c")).toThrow("a, b");
});
