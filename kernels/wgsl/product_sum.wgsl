// A product's result from its partial sums, ranges of inputs in ascending order (a left fold: the order is part of the arithmetic).
//   parts  vec4f [NUM_RANGES, PART_ROWS, PART_COLUMNS]
fn product_sum(row: u32, column: u32) -> vec4f {
  var sum = parts[row * PART_COLUMNS + column];
  for (var range = 1u; range < NUM_RANGES; range++) { sum += parts[(range * PART_ROWS + row) * PART_COLUMNS + column]; }
  return sum;
}
