/** Bounds of one HTTP/1.1 connection and its messages. */
export interface HttpLimits {
  /** Method, target and version with their spaces. Exceeded: 414. */
  readonly requestLineBytes: number;
  /** Fields of a header section. Exceeded: 431. */
  readonly headerCount: number;
  /** Name and value of one field. Exceeded: 431. */
  readonly headerFieldBytes: number;
  /** The whole header section. Exceeded: 431. */
  readonly headerSectionBytes: number;
  /** The body, decoded from its framing. Exceeded: 413. `Infinity` switches it off. */
  readonly bodyBytes: number;
  /** The trailer section. Exceeded: 431 when the head of the answer is not out yet, else the connection is closed. */
  readonly trailerSectionBytes: number;
  /** All chunk extensions of one body together. Exceeded: 400. */
  readonly chunkExtensionBytes: number;
  /** Complete requests waiting on one connection behind the one being served; the rest stays in the socket (back-pressure). */
  readonly pipelinedRequests: number;
  /** Exchanges served on one connection before it is closed in an orderly way. */
  readonly exchangesPerConnection: number;
}

export const DEFAULT_HTTP_LIMITS: HttpLimits = {
  requestLineBytes: 16 * 1024,
  headerCount: 100,
  headerFieldBytes: 32 * 1024,
  headerSectionBytes: 64 * 1024,
  bodyBytes: Number.POSITIVE_INFINITY,
  trailerSectionBytes: 8 * 1024,
  chunkExtensionBytes: 4 * 1024,
  pipelinedRequests: 64,
  exchangesPerConnection: 1_000_000,
};

/** Bounds of the HTTP/1.1 codec that nobody has to configure. */
export const CODEC_LIMITS = {
  /** Names in `Connection` besides the known ones. Exceeded: 400. */
  connectionOptions: 16,
  /** 1xx heads in front of one answer. Exceeded: 502. */
  informationalHeads: 16,
  /** Empty lines in front of a request line (RFC 9112 §2.2). Exceeded: 400. */
  emptyLines: 1,
  /** Letters of a method; the longest registered one has 17. Exceeded: 400, also when the request line is too long as well. */
  methodBytes: 64,
} as const;

/** How much data of one poll of the event loop is gathered before it is handed on (Bun's own sockets). */
export const ARRIVAL_LIMITS = {
  /** Pieces, of as many sockets mostly. As many: they are handed on before one of another socket is added; twice as many: at once. */
  pieces: 32,
  /** Bytes of all of them. As many: they are handed on before one of another socket is added; as many in one piece: at once. */
  bytes: 256 * 1024,
  /** What the first of them made is written after this time, though others still wait for their turn. */
  flushMs: 1,
} as const;

/** How long each phase of a downstream connection may take. */
export interface DownstreamTimes {
  /** TLS handshake and PROXY header. Exceeded: closed. */
  readonly handshakeMs: number;
  /** From the first byte of a request to the end of its header section. Exceeded: 408. */
  readonly headerMs: number;
  /** Between two pieces of a request body. Exceeded: 408. */
  readonly bodyIdleMs: number;
  /** A body must come at this rate at least, on average, once `bodyGraceMs` have passed. Below: 408. 0 switches it off. */
  readonly bodyMinBytesPerSecond: number;
  /** How long, from the beginning of a body, its rate is not looked at. */
  readonly bodyGraceMs: number;
  /** Between two exchanges on a kept connection. Exceeded: closed. */
  readonly keepAliveIdleMs: number;
  /** A downstream that does not take what we send, or less than `bodyMinBytesPerSecond` of it. Exceeded: reset. */
  readonly writeStallMs: number;
  /** A tunnel (WebSocket, CONNECT, TCP) in which nothing moves. Exceeded: closed. */
  readonly tunnelIdleMs: number;
}

export const DEFAULT_DOWNSTREAM_TIMES: DownstreamTimes = {
  handshakeMs: 10_000,
  headerMs: 10_000,
  bodyIdleMs: 30_000,
  bodyMinBytesPerSecond: 256,
  bodyGraceMs: 10_000,
  keepAliveIdleMs: 60_000,
  writeStallMs: 60_000,
  tunnelIdleMs: 3_600_000,
};
