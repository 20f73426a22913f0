import assert from "node:assert/strict";
import type { Socket } from "../../src/runtime/net.ts";
import { freePort } from "../kit/ports.ts";
import { bytesOf, type Case, dial, End, pair, pattern, sameBytes, tcp, turns, withListener } from "./net-kit.ts";

const MIB = 1024 * 1024;

function fail(what: string): never {
  throw new Error(what);
}

/** What plain sockets do. */
export const PLAIN_CASES: readonly Case[] = [
  {
    name: "what a handler throws, in whichever call, goes to its onThrown, and the socket goes on until that destroys it",
    run: ({ net }) =>
      withListener(net, {}, async (accepting) => {
        const thrown: string[] = [];
        const dialled = new Promise<void>((closed) => {
          const handler = {
            onOpen(socket: Socket) {
              socket.write(bytesOf("x"));
              fail("open");
            },
            onData: () => fail("data"),
            onEnd: () => fail("end"),
            onDrain() {},
            onClose: () => fail("close"),
            onThrown(socket: Socket, error: unknown) {
              thrown.push((error as Error).message);
              if (thrown.at(-1) === "end") socket.destroy();
              if (thrown.at(-1) === "close") closed();
            },
          };
          net.connect({ address: accepting.address, tls: undefined }, handler);
        });
        const far = await accepting.at(0);
        await far.untilText("x");
        far.open().write(bytesOf("y"));
        far.open().end();
        await dialled;
        assert.deepEqual(thrown, ["open", "data", "end", "close"]);
        far.open().destroy();
      }),
  },
  {
    name: "echo: bytes arrive both ways, and both sides know the addresses",
    run: ({ net }) =>
      withListener(net, { prepare: (end) => (end.onBytes = (socket, bytes) => void socket.write(bytes)) }, async (accepting) => {
        const [near, far] = await pair(net, accepting);
        near.open().write(bytesOf("hello"));
        await near.untilText("hello");
        assert.equal(near.open().remotePort, accepting.port);
        assert.equal(near.open().remoteAddress, "127.0.0.1");
        assert.equal(far.open().remoteAddress, "127.0.0.1");
        assert.equal(far.open().remotePort, near.open().localPort);
        assert.equal(far.open().localPort, accepting.port);
        assert.equal(far.open().tls, undefined);
        assert.deepEqual(far.heard, ["data"], "an accepted plain socket is open from the start");
        near.open().destroy();
      }),
  },
  {
    name: "who connected knows both addresses when it is closed, though it asked for neither before",
    run: ({ net }) =>
      withListener(net, {}, async (accepting) => {
        const [near, far] = await pair(net, accepting);
        const { remotePort } = far.open();
        near.open().destroy();
        await near.untilHeard("close");
        const { localAddress, localPort, remoteAddress } = near.open();
        assert.deepEqual([localAddress, localPort, remoteAddress], ["127.0.0.1", remotePort, "127.0.0.1"]);
      }),
  },
  {
    name: "a slow reader: write says false, memory stays bounded, pause is honoured, nothing is lost",
    run: ({ net }) =>
      withListener(net, {}, async (accepting) => {
        const [near, far] = await pair(net, accepting);
        const total = 24 * MIB;
        const block = pattern(256 * 1024);
        let sent = 0;
        const feed = (): void => {
          while (sent < total) {
            sent += block.byteLength;
            if (!near.open().write(block)) return;
          }
          near.open().end();
        };
        near.onRoom = feed;
        far.open().pause();
        feed();
        await turns(200);
        assert.ok(sent < total, `all ${sent} bytes were taken while nobody read`);
        assert.ok(near.open().pendingBytes > 0 && near.open().pendingBytes <= block.byteLength, `${near.open().pendingBytes}`);
        assert.equal(far.bytes, 0, "data in spite of pause");
        let heardWhilePaused = 0;
        let paused = false;
        far.onBytes = (socket, bytes) => {
          if (paused) heardWhilePaused += bytes.byteLength;
          // Stops for a turn now and then.
          paused = true;
          socket.pause();
          setImmediate(() => {
            paused = false;
            socket.resume();
          });
        };
        far.open().resume();
        await far.untilHeard("end");
        assert.equal(heardWhilePaused, 0);
        assert.equal(far.bytes, total);
        const all = far.all();
        for (let at = 0; at < total; at += block.byteLength) assert.ok(sameBytes(all.subarray(at, at + block.byteLength), block));
        assert.equal(near.open().pendingBytes, 0);
        far.open().end();
        await near.untilHeard("close");
      }),
  },
  {
    name: "half-close by who connected: the other side goes on sending",
    run: ({ net }) =>
      withListener(net, {}, async (accepting) => {
        const [near, far] = await pair(net, accepting);
        near.open().write(bytesOf("question"));
        near.open().end();
        await far.untilHeard("end");
        await turns();
        assert.deepEqual(far.heard, ["data", "end"]);
        far.open().write(bytesOf("answer, "));
        await near.untilText("answer, ");
        far.open().write(bytesOf("more"));
        far.open().end();
        await near.untilHeard("close");
        await far.untilHeard("close");
        assert.equal(near.text(), "answer, more");
        assert.deepEqual(near.heard, ["open", "data", "end", "close"]);
        assert.deepEqual([near.error, far.error], [undefined, undefined]);
      }),
  },
  {
    name: "half-close by who accepted: the other side goes on sending",
    run: ({ net }) =>
      withListener(net, {}, async (accepting) => {
        const [near, far] = await pair(net, accepting);
        far.open().end();
        await near.untilHeard("end");
        near.open().write(bytesOf("still here"));
        await far.untilText("still here");
        near.open().end();
        await near.untilHeard("close");
        await far.untilHeard("close");
        assert.deepEqual(far.heard, ["data", "end", "close"]);
        assert.deepEqual([near.error, far.error], [undefined, undefined]);
      }),
  },
  {
    name: "end sends what is pending first",
    run: ({ net }) =>
      withListener(net, {}, async (accepting) => {
        const [near, far] = await pair(net, accepting);
        const big = pattern(8 * MIB);
        assert.equal(near.open().write(big), false);
        near.open().end();
        assert.equal(near.open().write(bytesOf("late")), true, "after end, write does nothing");
        await far.untilHeard("end");
        assert.ok(sameBytes(far.all(), big));
        far.open().end();
        await near.untilHeard("close");
        assert.equal(near.count("drain"), 0, "after end nobody waits for room");
      }),
  },
  {
    name: "destroy: onClose once on both sides, and the peer can tell that it was no end",
    run: ({ net }) =>
      withListener(net, {}, async (accepting) => {
        const [near, far] = await pair(net, accepting);
        near.open().write(bytesOf("half of it"));
        await far.untilText("half of it");
        near.open().destroy();
        near.open().destroy();
        await near.untilHeard("close");
        await far.untilHeard("close");
        await turns();
        assert.deepEqual(near.heard, ["open", "close"]);
        assert.equal(near.error, undefined);
        assert.deepEqual(far.heard, ["data", "close"]);
        assert.ok(far.error instanceof Error);
        assert.equal(near.open().write(bytesOf("x")), true);
        assert.equal(near.open().pendingBytes, 0);
      }),
  },
  {
    name: "destroy after end is quiet: the peer hears an end",
    run: ({ net }) =>
      withListener(net, {}, async (accepting) => {
        const [near, far] = await pair(net, accepting);
        near.open().write(bytesOf("all of it"));
        near.open().end();
        await far.untilHeard("end");
        near.open().destroy();
        await near.untilHeard("close");
        assert.equal(far.text(), "all of it");
        far.open().end();
        await far.untilHeard("close");
        assert.equal(far.count("end"), 1);
        assert.equal(far.error, undefined);
      }),
  },
  {
    name: "nothing calls back within destroy, end, write, pause or resume",
    run: ({ net }) =>
      withListener(net, {}, async (accepting) => {
        const [near, far] = await pair(net, accepting);
        far.open().end();
        await near.untilHeard("end");
        near.call((socket) => socket.pause());
        near.call((socket) => socket.resume());
        near.call((socket) => socket.write(bytesOf("x")));
        near.call((socket) => socket.end());
        await near.untilHeard("close");
        await far.untilHeard("close");
        const [other, otherFar] = await pair(net, accepting);
        other.onBytes = () => other.call((socket) => socket.destroy());
        otherFar.open().write(bytesOf("die"));
        await other.untilHeard("close");
        const refused = dial(net, tcp("127.0.0.1", 1));
        refused.call((socket) => socket.destroy());
        await refused.untilHeard("close");
        for (const end of [near, other, refused]) assert.ok(!end.heard.some((what) => what.includes("within")), end.heard.join());
      }),
  },
  {
    name: "connect refused: onClose with an error that names the address and the reason",
    run: async ({ net }) => {
      // Nobody listens there, and no connection of anybody gets it as its own.
      const port = await freePort();
      const near = dial(net, tcp("127.0.0.1", port));
      await near.untilHeard("close");
      assert.deepEqual(near.heard, ["close"]);
      assert.equal(near.error?.message, `connect to 127.0.0.1:${port}: connection refused`);
      assert.equal((near.error as { code?: string }).code, "ECONNREFUSED");
    },
  },
  {
    name: "connect to a name that does not exist: onClose with an error that names it",
    run: async ({ net }) => {
      const near = dial(net, tcp("no-such-host.invalid", 80));
      await near.untilHeard("close");
      assert.deepEqual(near.heard, ["close"]);
      assert.match(near.error?.message ?? "", /^connect to no-such-host\.invalid:80: /);
    },
  },
  {
    name: "destroy while connecting: onClose once, never onOpen",
    run: ({ net }) =>
      withListener(net, {}, async (accepting) => {
        const near = dial(net, accepting.address);
        near.open().write(bytesOf("never"));
        near.open().destroy();
        await near.untilHeard("close");
        await turns();
        assert.deepEqual(near.heard, ["close"]);
        assert.equal(near.error, undefined);
        for (const far of accepting.ends) assert.equal(far.bytes, 0);
      }),
  },
  {
    name: "what is written before it is open goes out first; an end is remembered",
    run: ({ net }) =>
      withListener(net, {}, async (accepting) => {
        const near = dial(net, accepting.address);
        assert.equal(near.open().write(bytesOf("one ")), false);
        assert.equal(near.open().write(bytesOf("two ")), false);
        assert.equal(near.open().pendingBytes, 8);
        near.onRoom = (socket) => {
          socket.write(bytesOf("three"));
          socket.end();
        };
        const far = await accepting.at(0);
        await far.untilHeard("end");
        assert.equal(far.text(), "one two three");
        assert.deepEqual(near.heard, ["open", "drain"]);
        const early = dial(net, accepting.address);
        early.open().write(bytesOf("all"));
        early.open().end();
        const farther = await accepting.at(1);
        await farther.untilHeard("end");
        assert.equal(farther.text(), "all");
        early.open().destroy();
        near.open().destroy();
      }),
  },
  {
    name: "a preface comes before everything else",
    run: ({ net }) =>
      withListener(net, {}, async (accepting) => {
        const near = dial(net, accepting.address, { preface: bytesOf("PROXY ") });
        near.open().write(bytesOf("early "));
        await near.untilHeard("open");
        near.open().write(bytesOf("late"));
        const far = await accepting.at(0);
        await far.untilText("PROXY early late");
        near.open().destroy();
      }),
  },
  {
    name: "the caller's buffer may be reused right after write; order and content hold through partial writes",
    run: ({ net }) =>
      withListener(net, {}, async (accepting) => {
        const [near, far] = await pair(net, accepting);
        far.open().pause();
        const whole = pattern(12 * MIB, 7);
        const scratch = new Uint8Array(300_000 + 10);
        let at = 0;
        // Goes on writing although told to stop: it must still be taken.
        for (let size = 1; at < whole.byteLength; size = (size * 7 + 13) % 300_000) {
          const part = whole.subarray(at, at + size);
          scratch.set(part, 5);
          near.open().write(scratch, 5, 5 + part.byteLength);
          scratch.fill(0xee);
          at += part.byteLength;
        }
        assert.ok(near.open().pendingBytes > 0);
        near.open().end();
        far.open().resume();
        await far.untilHeard("end");
        assert.ok(sameBytes(far.all(), whole));
        near.open().destroy();
      }),
  },
  {
    name: "the handler may be exchanged in the middle",
    run: ({ net }) =>
      withListener(net, {}, async (accepting) => {
        const [near, far] = await pair(net, accepting);
        const second = new End();
        second.socket = far.open();
        far.onBytes = (socket) => {
          socket.handler = second;
        };
        near.open().write(bytesOf("first"));
        await far.untilText("first");
        near.open().write(bytesOf("second"));
        near.open().end();
        await second.untilHeard("end");
        assert.deepEqual([far.text(), second.text()], ["first", "second"]);
        assert.deepEqual(far.heard, ["data"]);
        far.open().end();
        await second.untilHeard("close");
      }),
  },
  {
    name: "an end that comes while paused waits behind the data",
    run: ({ net }) =>
      withListener(net, {}, async (accepting) => {
        const [near, far] = await pair(net, accepting);
        far.open().pause();
        far.open().pause();
        near.open().write(bytesOf("data"));
        near.open().end();
        await turns(100);
        assert.deepEqual(far.heard, []);
        far.open().resume();
        far.open().resume();
        await far.untilHeard("end");
        assert.deepEqual(far.heard, ["data", "end"]);
        near.open().destroy();
      }),
  },
  {
    name: "who has ended and pauses loses nothing when the peer ends as well",
    run: ({ net }) =>
      withListener(net, {}, async (accepting) => {
        const [near, far] = await pair(net, accepting);
        const answer = pattern(40_000);
        near.open().end();
        near.open().pause();
        await far.untilHeard("end");
        far.open().write(answer);
        far.open().end();
        await turns(100);
        assert.deepEqual(near.heard, ["open"]);
        near.open().resume();
        await near.untilHeard("close");
        assert.ok(sameBytes(near.all(), answer), `${near.bytes} of ${answer.byteLength} bytes`);
        assert.deepEqual(near.heard, ["open", "data", "end", "close"]);
        assert.equal(near.error, undefined);
      }),
  },
  {
    name: "a peer that resets while much is pending: onClose once, with an error",
    run: ({ net }) =>
      withListener(net, {}, async (accepting) => {
        const [near, far] = await pair(net, accepting);
        far.open().pause();
        assert.equal(near.open().write(pattern(12 * MIB)), false);
        far.open().destroy();
        await near.untilHeard("close");
        await turns();
        assert.equal(near.count("close"), 1);
        assert.ok(near.error instanceof Error);
        assert.equal(near.count("end"), 0);
        assert.equal(near.open().pendingBytes, 0);
      }),
  },
  {
    name: "accept may destroy at once",
    run: ({ net }) =>
      withListener(net, { prepare: (_end, socket) => socket.destroy() }, async (accepting) => {
        const near = dial(net, accepting.address);
        const far = await accepting.at(0);
        await far.untilHeard("close");
        await near.untilHeard("close");
        assert.deepEqual(far.heard, ["close"]);
      }),
  },
  {
    name: "an empty write is nothing",
    run: ({ net }) =>
      withListener(net, {}, async (accepting) => {
        const [near, far] = await pair(net, accepting);
        assert.equal(near.open().write(new Uint8Array()), true);
        assert.equal(near.open().write(bytesOf("abc"), 2, 2), true);
        near.open().write(bytesOf("xabcx"), 1, 4);
        await far.untilText("abc");
        near.open().destroy();
      }),
  },
];
