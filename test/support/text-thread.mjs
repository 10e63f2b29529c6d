// The server's text thread from its source.
import { register } from "tsx/esm/api";

register();
await import("../../server/text-thread-main.ts");
