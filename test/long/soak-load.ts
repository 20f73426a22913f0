import { type HeardAnswer, SoakPeer } from "./soak-peer.ts";
import { BIG_BYTES, sumOf } from "./soak-upstream.ts";

/** What the soak sends, by kind; `answered` counts what must be in the metrics. */
export interface SoakCounts {
  /** Requests that were answered with 200, filters on. */
  answered: number;
  /** Upgrades that were answered with 101, and messages that came back through them. */
  tunnels: number;
  echoes: number;
  /** Requests that were given up by us in the middle. */
  aborted: number;
}

export interface Soak {
  readonly counts: SoakCounts;
  /** What went wrong, in words; must stay empty. */
  readonly failures: string[];
  /** How often each kind went round. */
  readonly rounds: ReadonlyMap<string, number>;
  /** Every loop finishes what it does. */
  stop(): Promise<void>;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const HOST = "host: soak.test\r\n";

/** The same numbers every time: a failure can be had again. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const NOISE = Buffer.alloc(512 * 1024);
for (let i = 0; i < NOISE.length; i++) NOISE[i] = Math.imul(i, 2_654_435_761) >>> 24;

interface Turn {
  readonly port: number;
  readonly counts: SoakCounts;
  readonly random: (below: number) => number;
  readonly stopping: () => boolean;
}

function check(turn: Turn, answer: HeardAnswer, body: string): void {
  if (answer.status !== 200) throw new Error(`${answer.head} ${answer.body.slice(0, 200)}`);
  if (!answer.head.includes("\r\nx-soak: 1")) throw new Error(`the filters did not run: ${answer.head}`);
  if (answer.body !== body) throw new Error(`expected ${body}, heard ${answer.body.slice(0, 200)}`);
  turn.counts.answered++;
}

async function keepAlive(turn: Turn): Promise<void> {
  const peer = await SoakPeer.open(turn.port);
  for (let left = 2_000; left > 0 && !turn.stopping(); left--) {
    await peer.send(`GET /get HTTP/1.1\r\n${HOST}\r\n`);
    check(turn, await peer.answer(), "/get 0 0");
  }
  peer.destroy();
}

async function postBodies(turn: Turn): Promise<void> {
  const peer = await SoakPeer.open(turn.port);
  for (let left = 50; left > 0 && !turn.stopping(); left--) {
    const body = NOISE.subarray(0, turn.random(4) === 0 ? turn.random(NOISE.length) : turn.random(4_096));
    await peer.send(`POST /post HTTP/1.1\r\n${HOST}content-length: ${body.length}\r\n\r\n`);
    await peer.send(body);
    check(turn, await peer.answer(), `/post ${body.length} ${sumOf(body)}`);
  }
  peer.destroy();
}

async function chunked(turn: Turn): Promise<void> {
  const peer = await SoakPeer.open(turn.port);
  for (let left = 50; left > 0 && !turn.stopping(); left--) {
    const body = NOISE.subarray(0, turn.random(64 * 1024));
    await peer.send(`POST /chunked HTTP/1.1\r\n${HOST}transfer-encoding: chunked\r\n\r\n`);
    for (let at = 0; at < body.length; ) {
      const piece = body.subarray(at, at + 1 + turn.random(16 * 1024));
      await peer.send(Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from("\r\n")]));
      at += piece.length;
    }
    await peer.send("0\r\nx-trailer: yes\r\n\r\n");
    check(turn, await peer.answer(), `/chunked ${body.length} ${sumOf(body)}`);
  }
  peer.destroy();
}

async function webSocket(turn: Turn): Promise<void> {
  const peer = await SoakPeer.open(turn.port);
  const key = "sec-websocket-key: c29hayBzb2FrIHNvYWshIQ==\r\n";
  await peer.send(
    `GET /ws HTTP/1.1\r\n${HOST}connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n${key}\r\n`,
  );
  const head = await peer.head();
  if (!head.startsWith("http/1.1 101")) throw new Error(`no upgrade: ${head}`);
  turn.counts.tunnels++;
  for (let left = 100; left > 0 && !turn.stopping(); left--) {
    const message = NOISE.toString("latin1", 0, 1 + turn.random(8 * 1024));
    await peer.send(Buffer.from(message, "latin1"));
    if ((await peer.bytes(message.length)) !== message) throw new Error("the echo differs");
    turn.counts.echoes++;
    await sleep(5);
  }
  peer.destroy();
}

/** Leaves before the answer, or in the middle of its own body; softly or with a reset. */
async function abort(turn: Turn): Promise<void> {
  const peer = await SoakPeer.open(turn.port);
  turn.counts.aborted++;
  const whole = turn.random(2) === 0;
  if (whole) await peer.send(`GET /aborted HTTP/1.1\r\n${HOST}\r\n`);
  else await peer.send(`POST /aborted HTTP/1.1\r\n${HOST}content-length: 100000\r\n\r\n${"a".repeat(turn.random(90_000))}`);
  await sleep(turn.random(60));
  if (turn.random(2) === 0) peer.socket.resetAndDestroy();
  else peer.destroy();
  await sleep(10);
}

/** Says its request byte by byte. */
async function slowTalker(turn: Turn): Promise<void> {
  const peer = await SoakPeer.open(turn.port);
  for (const byte of `GET /slow HTTP/1.1\r\n${HOST}x-why: slow\r\n\r\n`) {
    await peer.send(byte);
    await sleep(2);
  }
  check(turn, await peer.answer(), "/slow 0 0");
  peer.destroy();
}

/** Takes a big answer in sips, so that back-pressure reaches the upstream. */
async function slowReader(turn: Turn): Promise<void> {
  const peer = await SoakPeer.open(turn.port);
  await peer.send(`GET /big HTTP/1.1\r\n${HOST}\r\n`);
  const { socket } = peer;
  const sipping = setInterval(() => {
    if (socket.isPaused()) socket.resume();
    else socket.pause();
  }, 5);
  try {
    const head = await peer.head();
    if (!head.startsWith("http/1.1 200")) throw new Error(head);
    for (let left = BIG_BYTES; left > 0; ) {
      const size = Math.min(left, 128 * 1024);
      if ((await peer.bytes(size)) !== "b".repeat(size)) throw new Error("the big body differs");
      left -= size;
    }
    turn.counts.answered++;
  } finally {
    clearInterval(sipping);
    peer.destroy();
  }
}

async function pipeline(turn: Turn): Promise<void> {
  const peer = await SoakPeer.open(turn.port);
  for (let left = 50; left > 0 && !turn.stopping(); left--) {
    const count = 2 + turn.random(15);
    const asked = Array.from({ length: count }, (_, i) => `GET /p${i} HTTP/1.1\r\n${HOST}\r\n`);
    await peer.send(asked.join(""));
    for (let i = 0; i < count; i++) check(turn, await peer.answer(), `/p${i} 0 0`);
  }
  peer.destroy();
}

/** How many of each go on at the same time. */
const KINDS: readonly (readonly [name: string, run: (turn: Turn) => Promise<void>, atOnce: number])[] = [
  ["keep-alive", keepAlive, 8],
  ["bodies", postBodies, 4],
  ["chunked", chunked, 4],
  ["websocket", webSocket, 20],
  ["aborted", abort, 4],
  ["slow talker", slowTalker, 8],
  ["slow reader", slowReader, 4],
  ["pipeline", pipeline, 4],
];

/** `only`: names of kinds, to look at one of them by itself. */
export function startSoak(port: number, only: readonly string[] = KINDS.map(([name]) => name)): Soak {
  const counts: SoakCounts = { answered: 0, tunnels: 0, echoes: 0, aborted: 0 };
  const failures: string[] = [];
  const rounds = new Map<string, number>();
  let stopping = false;
  const loop = async (name: string, run: (turn: Turn) => Promise<void>, seed: number): Promise<void> => {
    const turn: Turn = { port, counts, random: randomFrom(seed), stopping: () => stopping };
    while (!stopping && failures.length < 20) {
      try {
        await run(turn);
        rounds.set(name, (rounds.get(name) ?? 0) + 1);
      } catch (error) {
        failures.push(`${name}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
  };
  const loops = KINDS.filter(([name]) => only.includes(name)).flatMap(([name, run, atOnce], kind) =>
    Array.from({ length: atOnce }, (_, i) => loop(name, run, kind * 1_000 + i + 1)),
  );
  return {
    counts,
    failures,
    rounds,
    async stop() {
      stopping = true;
      await Promise.all(loops);
    },
  };
}
