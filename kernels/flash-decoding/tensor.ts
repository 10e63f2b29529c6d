import { ArgumentError } from "../errors.ts";

/** bool: a byte each, not 0 = true. */
export type TensorType = "f32" | "f16" | "i32" | "bool";

/** A dense row-major array, on the host or on a device. */
export interface Tensor {
  /** Uint16Array holds the bits of halves. A GPUBuffer needs usage STORAGE. */
  readonly data: Float32Array | Uint16Array | Int32Array | Uint8Array | GPUBuffer;
  readonly shape: readonly number[];
  /** A typed array has only one; a GPUBuffer's must be said. */
  readonly dtype?: TensorType;
}

/** A tensor whose every claim holds. */
export interface CheckedTensor {
  readonly name: string;
  readonly data: Tensor["data"];
  readonly shape: readonly number[];
  readonly dtype: TensorType;
  readonly onDevice: boolean;
}

const BYTES: Readonly<Record<TensorType, number>> = { f32: 4, f16: 2, i32: 4, bool: 1 };

export function byteSize(shape: readonly number[], dtype: TensorType): number {
  return shape.reduce((product, size) => product * size, BYTES[dtype]);
}

/** Type, shape and size of the argument `name`. @throws ArgumentError saying what it was and what was expected. */
export function checkTensor(
  name: string,
  tensor: Tensor | undefined,
  dtypes: readonly TensorType[],
  shape: { readonly sizes: readonly (number | undefined)[]; readonly names: string },
): CheckedTensor {
  if (typeof tensor !== "object" || tensor === null || !Array.isArray(tensor.shape)) {
    throw new ArgumentError(name, "no tensor", "{ data, shape, dtype? }");
  }
  const { data } = tensor;
  const onDevice = typeof GPUBuffer !== "undefined" && data instanceof GPUBuffer;
  const implied = onDevice ? undefined : typeOfArray(name, data);
  if (implied !== undefined && tensor.dtype !== undefined && tensor.dtype !== implied) {
    throw new ArgumentError(name, `${data.constructor.name} with dtype ${tensor.dtype}`, `dtype ${implied} or none`);
  }
  const dtype = implied ?? tensor.dtype;
  if (dtype === undefined) throw new ArgumentError(name, "a GPUBuffer without dtype", dtypes.join(" or "));
  if (!dtypes.includes(dtype)) throw new ArgumentError(name, `dtype ${dtype}`, dtypes.join(" or "));
  checkShape(name, tensor.shape, shape.sizes, shape.names);
  checkSize(name, data, tensor.shape, dtype);
  return { name, data, shape: [...tensor.shape], dtype, onDevice };
}

function typeOfArray(name: string, data: Tensor["data"]): TensorType {
  if (data instanceof Float32Array) return "f32";
  if (data instanceof Uint16Array) return "f16";
  if (data instanceof Int32Array) return "i32";
  if (data instanceof Uint8Array) return "bool";
  const was = Object.prototype.toString.call(data).slice(8, -1);
  throw new ArgumentError(
    name,
    `data of type ${was}`,
    "Float32Array, Uint16Array, Int32Array, Uint8Array or GPUBuffer",
  );
}

/** `undefined` stands for any size. */
function checkShape(
  name: string,
  shape: readonly number[],
  sizes: readonly (number | undefined)[],
  names: string,
): void {
  const fits =
    shape.length === sizes.length &&
    shape.every((size, i) => Number.isInteger(size) && size >= 0 && (sizes[i] ?? size) === size);
  const expected = sizes.map((size) => size ?? "any").join(", ");
  if (!fits) throw new ArgumentError(name, `shape [${shape.join(", ")}]`, `[${expected}] (${names})`);
}

function checkSize(name: string, data: Tensor["data"], shape: readonly number[], dtype: TensorType): void {
  const bytes = byteSize(shape, dtype);
  if (!("byteLength" in data)) {
    if (data.size < bytes) throw new ArgumentError(name, `a buffer of ${data.size} bytes`, `at least ${bytes}`);
    if ((data.usage & GPUBufferUsage.STORAGE) === 0) {
      throw new ArgumentError(name, `a buffer of usage ${data.usage}`, "usage STORAGE among others");
    }
  } else if (data.byteLength !== bytes) {
    const count = bytes / BYTES[dtype];
    throw new ArgumentError(name, `${data.length} elements`, `${count} for shape [${shape.join(", ")}]`);
  }
}
