export interface SafeTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

/** Bytes of a safetensors file, written after the format's description. */
export function writeSafetensors(tensors: Readonly<Record<string, SafeTensor>>): Buffer {
  let at = 0;
  const entries = Object.entries(tensors).map(([name, { dtype, shape, data }]) => {
    const begin = at;
    at += data.length;
    return [name, { dtype, shape, data_offsets: [begin, at] }];
  });
  const header = { __metadata__: { format: "pt" }, ...Object.fromEntries(entries) };
  return withHeader(JSON.stringify(header), ...Object.values(tensors).map(({ data }) => data));
}

/** A file with any text for its header. */
export function withHeader(header: string, ...data: readonly Uint8Array[]): Buffer {
  const bytes = Buffer.from(header);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(bytes.length));
  return Buffer.concat([length, bytes, ...data]);
}
