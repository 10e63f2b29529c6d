/** `/metrics` of a server: values of the metrics without labels, by name. @throws Error where it does not answer */
export async function scrape(url: string): Promise<ReadonlyMap<string, number>> {
  const response = await fetch(`${url}/metrics`);
  if (!response.ok) throw new Error(`/metrics answered ${response.status}`);
  return parseMetrics(await response.text());
}

export function parseMetrics(text: string): ReadonlyMap<string, number> {
  const lines = text.split("\n").filter((line) => /^[a-z0-9_]+ /.test(line));
  return new Map(lines.map((line) => [line.slice(0, line.indexOf(" ")), Number(line.slice(line.indexOf(" ")))]));
}

/** @throws Error where the server does not tell it */
export function metric(metrics: ReadonlyMap<string, number>, name: string): number {
  const value = metrics.get(name);
  if (value === undefined) throw new Error(`the server's /metrics have no ${name}`);
  return value;
}
