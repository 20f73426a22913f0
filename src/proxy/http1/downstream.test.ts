import { expect, test } from "bun:test";
import { listenerOf } from "../../../test/kit/snapshot.ts";
import { VirtualClock } from "../../core/clock.ts";
import { DeadlineQueue } from "../../core/deadline.ts";
import { HeaderBlock } from "../../core/head.ts";
import { DEFAULT_DOWNSTREAM_TIMES } from "../../core/limits.ts";
import type { Socket } from "../../runtime/net.ts";
import type { ConnectionInfo, DownstreamHandler, DownstreamStream } from "../stream.ts";
import { Turn } from "../turn.ts";
import { type DownstreamHost, Http1Downstream } from "./downstream.ts";

const HANDLER: DownstreamHandler = { onData() {}, onEnd() {}, onReset() {}, onWritable() {}, abandon() {} };
const PLAIN = { tls: undefined } as unknown as ConnectionInfo;

/** `onRequest`: what is done with each request. */
function hostOf(clock: VirtualClock, onRequest: (stream: DownstreamStream) => void): DownstreamHost {
  return {
    clock,
    deadlines: new DeadlineQueue(clock),
    turn: new Turn(clock),
    draining: false,
    openExchange(stream: DownstreamStream) {
      onRequest(stream);
      return HANDLER;
    },
    refuse() {},
    onDownstreamClosed() {},
  };
}

/** A connection with an answer on its way to a socket that takes as little as a test says. */
function answering(bytes: number, request = "GET / HTTP/1.1\r\nhost: a\r\n\r\n", saysTaken = false) {
  const clock = new VirtualClock();
  const socket = {
    pendingBytes: 0,
    destroyed: false,
    tls: undefined,
    write(_bytes: Uint8Array, start: number, end: number): boolean {
      this.pendingBytes += end - start;
      return saysTaken;
    },
    destroy(): void {
      this.destroyed = true;
    },
    end(): void {},
    pause(): void {},
    resume(): void {},
  };
  const host = hostOf(clock, (stream) => {
    stream.sendHead({ status: 200, reason: "", version: 11, upgrade: undefined, headers: new HeaderBlock() }, false);
    stream.sendData(new Uint8Array(bytes));
    if (request.includes("close")) stream.sendEnd(undefined);
  });
  const times = { ...DEFAULT_DOWNSTREAM_TIMES, writeStallMs: 10_000, bodyMinBytesPerSecond: 100 };
  const connection = new Http1Downstream(socket as unknown as Socket, listenerOf({ times }), PLAIN, host);
  connection.onData(socket as unknown as Socket, Buffer.from(request));
  return { clock, socket };
}

test("a reader that takes nothing, or less than the least rate, is reset after the write time-out", () => {
  for (const taken of [0, 999]) {
    const { clock, socket } = answering(100_000);
    expect(socket.pendingBytes).toBeGreaterThan(100_000);
    clock.advance(9_900);
    expect(socket.destroyed).toBe(false);
    socket.pendingBytes -= taken;
    clock.advance(200);
    expect(socket.destroyed).toBe(true);
  }
});

test("a slow reader that takes its share has another while, each time", () => {
  const { clock, socket } = answering(100_000);
  for (let i = 0; i < 20; i++) {
    socket.pendingBytes -= 1_000;
    clock.advance(10_100);
    expect(socket.destroyed).toBe(false);
  }
  clock.advance(20_000);
  expect(socket.destroyed).toBe(true);
});

test("the last answer is not cut off while a slow reader takes it", () => {
  const { clock, socket } = answering(100_000, "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
  clock.advance(6_000);
  expect(socket.destroyed).toBe(false);
  socket.pendingBytes = 0;
  clock.advance(3_000);
  expect(socket.destroyed).toBe(true);
});

test("a last answer that the socket keeps, and nobody takes, does not keep the connection for ever", () => {
  const { clock, socket } = answering(1_000, "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", true);
  clock.advance(8_000);
  expect(socket.destroyed).toBe(false);
  clock.advance(10_000);
  expect(socket.destroyed).toBe(true);
});

test("a socket that is paused for its backlog stays so until as much as may wait is answered, however many requests that are", () => {
  const clock = new VirtualClock();
  const calls: string[] = [];
  const socket = {
    pendingBytes: 0,
    write: () => true,
    destroy(): void {},
    end(): void {},
    pause: () => void calls.push("pause"),
    resume: () => void calls.push("resume"),
  };
  let answer = (): void => {};
  let answered = 0;
  const host = hostOf(clock, (stream) => {
    answer = () => {
      answered++;
      stream.sendHead({ status: 204, reason: "", version: 11, upgrade: undefined, headers: new HeaderBlock() }, true);
    };
  });
  const connection = new Http1Downstream(socket as unknown as Socket, listenerOf(), PLAIN, host);
  const request = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
  const count = 10_000;
  connection.onData(socket as unknown as Socket, Buffer.from(request.repeat(count)));
  expect(calls[0]).toBe("pause");
  while (answered < count) answer();
  expect(calls.at(-1)).toBe("resume");
  expect(calls.indexOf("resume")).toBeGreaterThan(count - 2_000);
});
