import type { GpuContext } from "../../kernels/index.ts";
import { shapeChildren, type TreeShape } from "../speculative/tree-shape.ts";

/** The shape of a run's trees where kernels read it: u32 [maxNodes, topK], as `DraftRules.shapeChildren`. */
export class ShapeTable {
  readonly buffer: GPUBuffer;
  readonly #device: GPUDevice;
  readonly #maxNodes: number;
  readonly #topK: number;
  #sent: TreeShape | undefined;

  /** @param topK children of a node at most */
  constructor({ device, pool }: GpuContext, maxNodes: number, topK: number) {
    this.buffer = pool.storage(4 * maxNodes * topK, "shape");
    this.#device = device;
    this.#maxNodes = maxNodes;
    this.#topK = topK;
  }

  /** For the steps that are submitted from now on. @throws RangeError where the shape has more nodes or children than can be */
  send(shape: TreeShape): void {
    if (shape === this.#sent) return;
    this.#device.queue.writeBuffer(this.buffer, 0, shapeChildren(shape, this.#maxNodes, this.#topK));
    this.#sent = shape;
  }
}
