/** What a client of one streamed answer saw; times in ms since the request was sent. */
export interface StreamRecord {
  /** 200, or what the server answered instead. */
  readonly status: number;
  /** Of each piece of text. */
  readonly pieceMs: readonly number[];
  readonly endMs: number;
  /** As `usage` has it. */
  readonly numTokens: number;
  readonly cachedTokens: number;
}

/** Sends one chat request and reads its stream to the end. @throws TypeError where no connection comes about */
export async function streamChat(url: string, body: object): Promise<StreamRecord> {
  const startMs = performance.now();
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
  });
  if (!response.ok || response.body === null) {
    await response.text();
    const endMs = performance.now() - startMs;
    return { status: response.status, pieceMs: [], endMs, numTokens: 0, cachedTokens: 0 };
  }
  const pieceMs: number[] = [];
  let usage: Usage | undefined;
  for await (const event of events(response.body)) {
    const { choices, usage: known } = event;
    if ((choices?.[0]?.delta?.content ?? "") !== "") pieceMs.push(performance.now() - startMs);
    usage = known ?? usage;
  }
  return {
    ...{ status: 200, pieceMs, endMs: performance.now() - startMs },
    numTokens: usage?.completion_tokens ?? 0,
    cachedTokens: usage?.prompt_tokens_details?.cached_tokens ?? 0,
  };
}

interface Usage {
  readonly completion_tokens: number;
  readonly prompt_tokens_details?: { readonly cached_tokens?: number };
}

interface ChatEvent {
  readonly choices?: readonly { readonly delta?: { readonly content?: string } }[];
  readonly usage?: Usage | null;
}

async function* events(stream: ReadableStream<Uint8Array>): AsyncGenerator<ChatEvent> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const bytes of stream) {
    rest += decoder.decode(bytes, { stream: true });
    const blocks = rest.split("\n\n");
    rest = blocks.pop() ?? "";
    for (const block of blocks) {
      const data = block.startsWith("data: ") ? block.slice("data: ".length) : "[DONE]";
      if (data !== "[DONE]") yield JSON.parse(data) as ChatEvent;
    }
  }
}
