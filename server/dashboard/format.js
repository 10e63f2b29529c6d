// Numbers, durations and token texts for people to read.

/** @param {number} x */
export const count = (x) => Math.round(x).toLocaleString("en-US");

/** Three significant digits or so: 0.42, 4.2, 42.3, 423, 4,230. @param {number} x */
export function figure(x) {
  if (x === 0) return "0";
  if (x < 1) return x.toFixed(2);
  return x < 100 ? x.toFixed(1) : count(x);
}

/** @param {number} share 0…1 */
export const percent = (share) => `${(share * 100).toFixed(share > 0 && share < 0.0995 ? 1 : 0)}%`;

/** @param {number} milliseconds */
export function duration(milliseconds) {
  const s = Math.floor(milliseconds / 1000);
  const [d, h, m] = [Math.floor(s / 86400), Math.floor(s / 3600) % 24, Math.floor(s / 60) % 60];
  if (d > 0) return `${d} d ${h} h`;
  if (h > 0) return `${h} h ${m} min`;
  return m > 0 ? `${m} min ${s % 60} s` : `${s} s`;
}

const MAX_LABEL = 16;

/** A token's text with its white space made visible, cut to a label's length. @param {string} text */
export function tokenLabel(text) {
  const visible = text
    .replaceAll(" ", "·")
    .replaceAll("\n", "↵")
    .replaceAll("\t", "⇥")
    .replace(/\p{Cc}/gu, "�");
  const characters = [...visible];
  if (characters.length === 0) return "∅";
  return characters.length > MAX_LABEL ? `${characters.slice(0, MAX_LABEL - 1).join("")}…` : visible;
}
