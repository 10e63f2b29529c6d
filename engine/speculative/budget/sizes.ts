/**
 * Numbers that are told apart, of nodes and of rows: 2, 3, 4, 6, 8, 12, 16, … and the largest; none below 2. Kernels take rows by tiles, of
 * which 6 may fill as many as 8 do.
 */
export function sizesUpTo(most: number): number[] {
  const result: number[] = [];
  for (let size = 2; size < most; size *= 2)
    result.push(...[size, 1.5 * size].filter((one) => one < most && Number.isInteger(one)));
  return most < 2 ? [] : [...result, most];
}
