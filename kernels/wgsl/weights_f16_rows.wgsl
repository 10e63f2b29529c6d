// Weights f16 [NUM_OUTPUTS, CHUNKS, 8], rows filled up with zeros. A chunk is the 16 bytes that a lane loads at once.
@group(0) @binding(0) var<storage, read> values: array<vec4u>;
const QUADS = 2u;
alias Chunk = vec4u;

fn fetch(output: u32, chunk: u32) -> Chunk {
  return values[output * CHUNKS + chunk];
}

fn quad(chunk: Chunk, q: u32) -> vec4f {
  return vec4f(unpack2x16float(chunk[2u * q]), unpack2x16float(chunk[2u * q + 1u]));
}
