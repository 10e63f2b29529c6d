import type { Random } from "./random.ts";

const EXTREME = [0n, 1n, 0x7fffffffn, 0xffffffffn, 2n ** 53n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n];

/** One to three random edits of a binary file. */
export function mutateBytes(original: Buffer, random: Random): Buffer {
  let bytes = Buffer.from(original);
  for (let edits = random.int(1, 3); edits > 0; edits--) {
    // Headers are in the front, where most of what can go wrong is.
    const end = random.next() < 0.7 ? Math.min(bytes.length, 1600) : bytes.length;
    const at = random.int(0, Math.max(0, end - 9));
    switch (random.int(0, 4)) {
      case 0:
        bytes[at] = random.int(0, 255);
        break;
      case 1:
        bytes[at] = (bytes[at] ?? 0) ^ (1 << random.int(0, 7));
        break;
      case 2:
        if (bytes.length >= 8) bytes.writeBigUInt64LE(random.pick(EXTREME), at);
        break;
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + random.int(1, 40))]);
        break;
      default:
        bytes = Buffer.concat([bytes.subarray(0, at + 8), bytes.subarray(at)]);
    }
  }
  return bytes;
}

const WORDS = [
  "null",
  "true",
  "-1",
  "0.5",
  "1e308",
  "1e999",
  "[]",
  "{}",
  '""',
  '"__proto__"',
  "9007199254740993",
  "\0",
];

/** One to three random edits of a JSON text: a byte, a cut, or a value in the place of another. */
export function mutateJson(original: Buffer, random: Random): Buffer {
  let text = original.toString("latin1");
  for (let edits = random.int(1, 3); edits > 0; edits--) {
    const at = random.int(0, text.length);
    if (random.next() < 0.6) {
      const values = [...text.matchAll(/(?<=[:,[]\s*)("[^"]*"|[\d.]+|true|false|null)/g)];
      const { index = 0, 0: value = "" } = values.length > 0 ? random.pick(values) : {};
      text = text.slice(0, index) + random.pick(WORDS) + text.slice(index + value.length);
    } else if (random.next() < 0.5) {
      text = text.slice(0, at) + String.fromCharCode(random.int(0, 255)) + text.slice(at + 1);
    } else {
      text = text.slice(0, at) + text.slice(at + random.int(1, 20));
    }
  }
  return Buffer.from(text, "latin1");
}

const TEMPLATE_PIECES = [
  ...["{%", "%}", "{{", "}}", "{% endfor %}", "{% endif %}", "{% if messages %}", "{% for x in messages %}"],
  ...[
    " | trim",
    " | tojson",
    " | length",
    "[0]",
    "['content']",
    ".x.y",
    "(",
    ")",
    "'",
    "messages",
    "none",
    "-1",
    " ~ ",
    "\uE000",
  ],
];

/** One to three random edits of a template: a cut, a character, or a piece of syntax where none belongs. */
export function mutateTemplate(original: string, random: Random): string {
  let text = original;
  for (let edits = random.int(1, 3); edits > 0; edits--) {
    const at = random.int(0, text.length);
    const piece = random.next() < 0.7 ? random.pick(TEMPLATE_PIECES) : String.fromCharCode(random.int(0, 255));
    text = text.slice(0, at) + (random.next() < 0.6 ? piece : "") + text.slice(at + random.int(0, 12));
  }
  return text;
}
