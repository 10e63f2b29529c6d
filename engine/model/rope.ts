import type { LlamaConfig } from "./types.ts";

/**
 * Inverse frequencies of RoPE f64 [headDim / 2], radians per position: theta^(−2i / headDim), stretched as
 * Llama 3.1 does for long contexts where the model says so ("rope_type": "llama3" of Hugging Face's config.json).
 */
export function inverseFrequencies(config: LlamaConfig): Float64Array {
  const { headDim, ropeTheta, ropeScaling: scaling, ropeFreqFactors } = config;
  return Float64Array.from({ length: headDim / 2 }, (_, i) => {
    const frequency = ropeTheta ** ((-2 * i) / headDim);
    if (ropeFreqFactors !== undefined) return frequency / (ropeFreqFactors[i] ?? 1);
    if (scaling === undefined) return frequency;
    const wavelength = (2 * Math.PI) / frequency;
    const longest = scaling.originalMaxPositionEmbeddings / scaling.lowFreqFactor;
    const shortest = scaling.originalMaxPositionEmbeddings / scaling.highFreqFactor;
    if (wavelength < shortest) return frequency;
    if (wavelength > longest) return frequency / scaling.factor;
    const smooth =
      (scaling.originalMaxPositionEmbeddings / wavelength - scaling.lowFreqFactor) /
      (scaling.highFreqFactor - scaling.lowFreqFactor);
    return (1 - smooth) * (frequency / scaling.factor) + smooth * frequency;
  });
}
