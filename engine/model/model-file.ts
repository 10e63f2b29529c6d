import { closeSync, constants, fstatSync, openSync, readSync, statSync } from "node:fs";
import { ModelFileError } from "../errors.ts";

/** `readSync` takes a signed 32-bit length. */
const MAX_READ_BYTES = 2 ** 30;

/**
 * One read-only file of a model. Nothing is read but what is asked for, and every range is checked against the
 * file's size before anything is allocated, so a header's lies cost an error and no memory.
 */
export class ModelFile {
  private fd: number | undefined;

  private constructor(
    readonly path: string,
    fd: number,
    readonly size: number,
  ) {
    this.fd = fd;
  }

  /** @throws ModelFileError not_found when it cannot be opened, malformed when it is not a regular file. */
  static open(path: string): ModelFile {
    let fd: number | undefined;
    try {
      // Asked before opening, because opening a named pipe waits for a writer.
      if (!statSync(path).isFile()) throw new ModelFileError("malformed", path, "not a regular file");
      fd = openSync(path, constants.O_RDONLY);
      return new ModelFile(path, fd, fstatSync(fd).size);
    } catch (error) {
      if (fd !== undefined) closeSync(fd);
      throw asModelFileError(error, path);
    }
  }

  /** @throws ModelFileError truncated unless `offset + length` lies within the file. */
  checkRange(offset: bigint, length: bigint, field: string): void {
    if (offset < 0n || length < 0n) throw this.error("malformed", field, offset, `negative offset or length ${length}`);
    if (offset + length > BigInt(this.size)) {
      throw this.error("truncated", field, offset, `needs ${length} bytes, the file ends at ${this.size}`);
    }
  }

  /** Fills `target` with the bytes from `offset` on. */
  readInto(target: Uint8Array, offset: number, field: string): void {
    if (this.fd === undefined) throw new Error(`${this.path} is closed`);
    this.checkRange(BigInt(offset), BigInt(target.byteLength), field);
    for (let done = 0; done < target.byteLength; ) {
      const want = Math.min(target.byteLength - done, MAX_READ_BYTES);
      let got: number;
      try {
        got = readSync(this.fd, target, done, want, offset + done);
      } catch (error) {
        throw asModelFileError(error, this.path);
      }
      if (got === 0) throw this.error("truncated", field, BigInt(offset + done), "the file shrank while open");
      done += got;
    }
  }

  /** Fresh copy of `length` bytes, aligned for any typed array. */
  read(offset: number, length: number, field: string): Uint8Array<ArrayBuffer> {
    this.checkRange(BigInt(offset), BigInt(length), field);
    const bytes = new Uint8Array(length);
    this.readInto(bytes, offset, field);
    return bytes;
  }

  error(code: ModelFileError["code"], field: string, offset: bigint | number, problem: string): ModelFileError {
    return new ModelFileError(code, this.path, `${field} at byte ${offset}: ${problem}`);
  }

  close(): void {
    // Forgotten first: a number closed twice may by then belong to another file.
    const { fd } = this;
    this.fd = undefined;
    if (fd !== undefined) closeSync(fd);
  }
}

/** What the file system said, as the one error that callers know. */
export function asModelFileError(error: unknown, path: string): ModelFileError {
  if (error instanceof ModelFileError) return error;
  const { code, message } = error instanceof Error ? (error as NodeJS.ErrnoException) : {};
  if (code === "ENOENT" || code === "ENOTDIR") return new ModelFileError("not_found", path, "no such file or folder");
  return new ModelFileError("not_found", path, `cannot be read (${code ?? message ?? String(error)})`);
}
