// Turns one object of callbacks into what a component of selvedge:filter exports. Runs inside the filter.

/** Callbacks by the flag that asks for them. */
const FLAGS = {
  onRequestHead: "requestHead",
  onRequestBody: "requestBody",
  onRequestTrailers: "requestTrailers",
  onResponseHead: "responseHead",
  onResponseBody: "responseBody",
  onResponseTrailers: "responseTrailers",
  onDone: "done",
};

export const CONTINUE = { tag: "continue" };
export const PAUSE = { tag: "pause" };

/** A response of the filter's own. */
export function respond(status, body = "", headers = {}) {
  const pairs = Array.isArray(headers) ? headers : Object.entries(headers);
  const bytes = typeof body === "string" ? encodeText(body) : body;
  return { tag: "respond", val: { status, headers: pairs.map(([name, value]) => ({ name, value })), body: bytes } };
}

/** The filter cannot decide: its `onFailure` applies. */
export const fail = (reason) => ({ tag: "fail", val: String(reason) });

/** UTF-8, without counting on `TextEncoder`. */
export function encodeText(text) {
  const escaped = encodeURIComponent(text.toWellFormed === undefined ? text : text.toWellFormed());
  const bytes = [];
  for (let i = 0; i < escaped.length; i++) {
    if (escaped[i] === "%") {
      bytes.push(Number.parseInt(escaped.slice(i + 1, i + 3), 16));
      i += 2;
    } else bytes.push(escaped.charCodeAt(i));
  }
  return Uint8Array.from(bytes);
}

/** Text of UTF-8 bytes; throws a `URIError` when they are not. */
export function decodeText(bytes) {
  let escaped = "";
  for (const byte of bytes)
    escaped += byte < 0x80 && byte !== 0x25 ? String.fromCharCode(byte) : `%${byte.toString(16).padStart(2, "0")}`;
  return decodeURIComponent(escaped);
}

/**
 * What the module of a filter exports:
 *
 *     export const { configuration, heads } = defineFilter({ configure, onRequestHead });
 *
 * `bodies` and `callAnswers` are there as well, for the worlds that have them.
 */
export function defineFilter(filter) {
  let settings;
  const exchanges = new Map();
  const wantsState = filter.createExchange !== undefined;
  const stateOf = (id) => {
    if (!wantsState) return undefined;
    let state = exchanges.get(id);
    if (state === undefined) {
      state = filter.createExchange(settings);
      exchanges.set(id, state);
    }
    return state;
  };
  const context = (id) => ({ id, settings, state: stateOf(id) });
  const answer = (verdict) => (verdict === undefined ? CONTINUE : verdict);

  const configuration = {
    configure(text) {
      const value = JSON.parse(text);
      settings = filter.configure === undefined ? value : filter.configure(value);
      const wanted = {};
      for (const [callback, flag] of Object.entries(FLAGS)) wanted[flag] = filter[callback] !== undefined;
      // Somebody has to forget what was remembered.
      if (wantsState) wanted.done = true;
      return wanted;
    },
  };
  const heads = {
    onRequestHead: (id, request, end) => answer(filter.onRequestHead?.(request, context(id), end)),
    onResponseHead: (id, request, response, end) => answer(filter.onResponseHead?.(response, context(id), request, end)),
    onDone(id, request) {
      filter.onDone?.(request, context(id));
      exchanges.delete(id);
    },
  };
  const bodies = {
    onRequestBody: (id, body, end) => answer(filter.onRequestBody?.(body, context(id), end)),
    onRequestTrailers: (id, trailers) => answer(filter.onRequestTrailers?.(trailers, context(id))),
    onResponseBody: (id, body, end) => answer(filter.onResponseBody?.(body, context(id), end)),
    onResponseTrailers: (id, trailers) => answer(filter.onResponseTrailers?.(trailers, context(id))),
  };
  const callAnswers = {
    onCallAnswer: (id, call, got, request) => answer(filter.onCallAnswer?.(got, context(id), request, call)),
  };
  return { configuration, heads, bodies, callAnswers };
}
