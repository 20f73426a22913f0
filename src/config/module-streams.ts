import { readExportNames } from "./wasm-sections.ts";

/** Callbacks of proxy-wasm that see a stream of bytes, or decide about one. */
const STREAM_CALLBACKS: ReadonlySet<string> = new Set([
  "proxy_on_new_connection",
  "proxy_on_downstream_data",
  "proxy_on_upstream_data",
  "proxy_on_downstream_connection_close",
  "proxy_on_upstream_connection_close",
]);

/** Does a proxy-wasm module have a callback for streams? */
export const detectsStreams = (module: Uint8Array): boolean => readExportNames(module).some((name) => STREAM_CALLBACKS.has(name));
