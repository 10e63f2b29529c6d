import type { SoakRequest } from "./traffic.ts";

/** What came of a request. */
export interface Outcome {
  readonly kind: string;
  /** As the server answered; 0 for a client that left before, or where no connection came about. */
  readonly status: number;
  /** What is wrong with it; undefined where all is as it should be. */
  readonly problem?: string;
}

/** Overload is answered with these, by design. */
const OVERLOADED = [429, 503];

/** Sends a request and reads the answer, or leaves when its time has come. */
export async function send(url: string, request: SoakRequest): Promise<Outcome> {
  const { kind, path, body, leaveAfterMs, status: expected } = request;
  const leave = new AbortController();
  const timer = leaveAfterMs === undefined ? undefined : setTimeout(() => leave.abort(), leaveAfterMs);
  let status = 0;
  try {
    const response = await fetch(url + path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: typeof body === "string" ? body : JSON.stringify(body),
      signal: leave.signal,
    });
    status = response.status;
    const problem = problemOf(expected, status, response.headers.get("content-type") ?? "", await response.text());
    return { kind, status, ...(problem === undefined ? {} : { problem }) };
  } catch (error) {
    if (leave.signal.aborted) return { kind, status };
    return {
      kind,
      status,
      problem: error instanceof Error ? `${error.message} (${error.cause ?? ""})` : String(error),
    };
  } finally {
    clearTimeout(timer);
  }
}

function problemOf(expected: number, status: number, type: string, text: string): string | undefined {
  if (OVERLOADED.includes(status)) return undefined;
  if (status !== expected) return `status ${status} in place of ${expected}: ${text.slice(0, 200)}`;
  if (!type.startsWith("text/event-stream")) return undefined;
  if (!text.endsWith("data: [DONE]\n\n")) return `a stream ended with ${JSON.stringify(text.slice(-100))}`;
  return text.includes('data: {"error"') ? `a stream failed: ${text.slice(-300)}` : undefined;
}
