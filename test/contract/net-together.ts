import assert from "node:assert/strict";
import type { Socket } from "../../src/runtime/net.ts";
import { bytesOf, type Case, type End, pair, turns, withListener } from "./net-kit.ts";

const CONNECTIONS = 80;

/** Connections whose far ends all have something to read at once. */
async function pairs(net: Parameters<typeof pair>[0], accepting: Parameters<typeof pair>[1]): Promise<(readonly [End, End])[]> {
  const all: (readonly [End, End])[] = [];
  for (let i = 0; i < CONNECTIONS; i++) all.push(await pair(net, accepting));
  return all;
}

/** What holds when many sockets have data in the same poll of the event loop, however an adapter hands it on. */
export const TOGETHER_CASES: readonly Case[] = [
  {
    name: "many at once: each hears its own data, then its end; what a handler writes goes to its own peer",
    run: ({ net }) =>
      withListener(net, { prepare: (end) => (end.onBytes = (socket, bytes) => void socket.write(bytes)) }, async (accepting) => {
        const all = await pairs(net, accepting);
        for (const [i, [near]] of all.entries()) {
          near.open().write(bytesOf(`number ${i}`));
          near.open().end();
        }
        for (const [i, [near, far]] of all.entries()) {
          await far.untilHeard("end");
          assert.equal(far.text(), `number ${i}`);
          assert.deepEqual(far.heard, ["data", "end"]);
          await near.untilText(`number ${i}`);
          far.open().end();
          await far.untilHeard("close");
          assert.equal(far.error, undefined);
        }
      }),
  },
  {
    name: "many at once: who is destroyed by another's handler hears no data of before, only its close",
    run: ({ net }) =>
      withListener(net, {}, async (accepting) => {
        const all = await pairs(net, accepting);
        const fars = all.map(([, far]) => far);
        const destroyed = new Set<Socket>();
        let heardAfter = 0;
        for (const far of fars)
          far.onBytes = (socket) => {
            if (destroyed.has(socket)) heardAfter++;
            for (const other of fars) {
              if (other === far || other.bytes > 0) continue;
              destroyed.add(other.open());
              other.open().destroy();
            }
          };
        for (const [near] of all) near.open().write(bytesOf("x"));
        for (const far of fars) await far.until(() => far.bytes > 0 || far.heard.includes("close"));
        await turns();
        assert.equal(heardAfter, 0);
        assert.equal(fars.filter((far) => far.bytes > 0).length + destroyed.size, CONNECTIONS);
        for (const [near] of all) near.open().destroy();
      }),
  },
  {
    name: "many at once: who is paused by another's handler hears nothing until it is resumed, and then all of it",
    run: ({ net }) =>
      withListener(net, {}, async (accepting) => {
        const all = await pairs(net, accepting);
        const fars = all.map(([, far]) => far);
        const paused = new Set<End>();
        let first = true;
        let heardWhilePaused = 0;
        for (const far of fars)
          far.onBytes = () => {
            if (paused.has(far)) heardWhilePaused++;
            if (!first) return;
            first = false;
            for (const other of fars) {
              if (other === far || other.bytes > 0) continue;
              paused.add(other);
              other.open().pause();
            }
          };
        for (const [i, [near]] of all.entries()) {
          near.open().write(bytesOf(`number ${i}`));
          near.open().end();
        }
        await Promise.race(fars.map((far) => far.until(() => far.bytes > 0)));
        await turns();
        assert.ok(paused.size > 0);
        assert.equal(heardWhilePaused, 0);
        for (const far of [...paused]) {
          paused.delete(far);
          far.open().resume();
        }
        for (const [i, far] of fars.entries()) {
          await far.untilHeard("end");
          assert.equal(far.text(), `number ${i}`);
          far.open().end();
        }
      }),
  },
  {
    name: "many at once: who resets behind its data closes with an error, after that data or without it, once",
    run: ({ net, kernel }) =>
      withListener(net, {}, async (accepting) => {
        const all = await pairs(net, accepting);
        for (const [near] of all) {
          near.open().write(bytesOf("x"));
          near.open().destroy();
        }
        for (const [, far] of all) {
          await far.untilHeard("close");
          assert.deepEqual(far.heard.slice(far.heard[0] === "data" ? 1 : 0), ["close"]);
          if (kernel) assert.ok(far.error !== undefined);
        }
      }),
  },
];
