export type AdapterChoice = "auto" | "gpu" | "software";

/** The adapter that is chosen, a real GPU before a software one where either will do; undefined where there is none such. */
export async function requestAdapter(
  instance: Pick<GPU, "requestAdapter">,
  choice: AdapterChoice,
): Promise<GPUAdapter | undefined> {
  const preferred = await instance.requestAdapter({ powerPreference: "high-performance" });
  const isWanted = (adapter: GPUAdapter) => choice === "auto" || isSoftware(adapter) === (choice === "software");
  if (preferred !== null && isWanted(preferred)) return preferred;
  if (choice === "gpu") return undefined;
  // Dawn takes it for a wish: where there is no other, it gives the GPU.
  const fallback = await instance.requestAdapter({ forceFallbackAdapter: true });
  return fallback !== null && isSoftware(fallback) ? fallback : undefined;
}

/** llvmpipe looks like any other adapter but for this flag. */
export function isSoftware({ info }: Pick<GPUAdapter, "info">): boolean {
  return (
    info.isFallbackAdapter || /llvmpipe|swiftshader|lavapipe|basic render/i.test(`${info.device} ${info.description}`)
  );
}
