/** A buffer [numSlots, width] of some of every slot's values; storage type, `width` a multiple of 4. */
export interface FeatureSection {
  readonly buffer: GPUBuffer;
  readonly width: number;
}

/**
 * Features of every slot of a paged cache, or a part of each slot's. Slots whose values are more than can be bound as one buffer
 * are cut: each buffer has some values of all slots. All sizes are multiples of 4.
 */
export interface FeatureStore {
  /** A slot's values are one section's after the other's. */
  readonly sections: readonly FeatureSection[];
  /** First of the slot's values that is meant. */
  readonly offset: number;
  /** How many are meant. */
  readonly size: number;
}

/** The store of one buffer [numSlots, size]. */
export function featureStore(buffer: GPUBuffer, size: number): FeatureStore {
  return { sections: [{ buffer, width: size }], offset: 0, size };
}

/** What one buffer has of the values that a store means. */
export interface FeaturePart {
  readonly buffer: GPUBuffer;
  /** Values of a slot in the buffer, meant or not. */
  readonly stride: number;
  /** The first that is meant: its place among those. */
  readonly offset: number;
  /** Its place among all that are meant. */
  readonly first: number;
  readonly size: number;
}

export function partsOf({ sections, offset, size }: FeatureStore): readonly FeaturePart[] {
  let begin = 0;
  return sections.flatMap(({ buffer, width }) => {
    const [from, end] = [Math.max(offset, begin), Math.min(offset + size, begin + width)];
    const part = { buffer, stride: width, offset: from - begin, first: from - offset, size: end - from };
    begin += width;
    return from < end ? [part] : [];
  });
}

/** Parts of two stores of equal size, cut further until they go in pairs. */
export function pairedParts(a: FeatureStore, b: FeatureStore): readonly (readonly [FeaturePart, FeaturePart])[] {
  return partsOf(a).flatMap((ofA) =>
    partsOf(b).flatMap((ofB) => {
      const from = Math.max(ofA.first, ofB.first);
      const size = Math.min(ofA.first + ofA.size, ofB.first + ofB.size) - from;
      const cut = (part: FeaturePart) => ({ ...part, offset: part.offset + from - part.first, first: from, size });
      return size > 0 ? [[cut(ofA), cut(ofB)] as const] : [];
    }),
  );
}

/** Which columns a kernel is to see to, and where a slot's lie in the buffer, in vectors of four. */
export function columnsOf({ stride, offset, first, size }: FeaturePart) {
  return { STRIDE: stride / 4, OFFSET: offset / 4, FIRST_COLUMN: first / 4, NUM_COLUMNS: size / 4 };
}
