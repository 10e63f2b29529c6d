// Sizes of a product on rows, in quads of inputs and outputs. Immediates, so that one kernel serves all of a model's products: a
// software adapter takes longer to compile a kernel than to run it for many tokens.
// A dispatch makes rows from first_row on; num_rows counts all rows of x.
struct Sizes { num_rows: u32, inputs: u32, outputs: u32, y_columns: u32, first_column: u32, first_row: u32 }
var<immediate> sizes: Sizes;

/** First quad of weights w [⌈outputs / PANEL⌉, 4 · inputs, PANEL] of quad n of the outputs. */
fn first_weight(n: u32) -> u32 { return (n / PANEL) * 4u * sizes.inputs * PANEL + n % PANEL; }
