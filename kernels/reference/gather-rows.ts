/** Rows [rows.length, width] of a table [any, width]. */
export function gatherRowsReference(table: Uint32Array, width: number, rows: readonly number[]): Uint32Array {
  const out = new Uint32Array(rows.length * width);
  for (const [i, row] of rows.entries()) {
    for (let at = 0; at < width; at++) out[i * width + at] = table[row * width + at] ?? 0;
  }
  return out;
}
