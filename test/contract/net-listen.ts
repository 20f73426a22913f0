import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, renameSync, rmSync, unlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../kit/ports.ts";
import { bytesOf, type Case, dial, End, pair, plainListen, tcp, turns, withListener } from "./net-kit.ts";

/** Where one can listen, and what closing means. */
export const LISTEN_CASES: readonly Case[] = [
  {
    name: "IPv6, and an IPv4 peer of a dual-stack listener keeps its IPv4 spelling",
    run: async ({ net }) => {
      await withListener(net, { address: tcp("::1") }, async (accepting) => {
        const [near, far] = await pair(net, accepting);
        near.open().write(bytesOf("six"));
        await far.untilText("six");
        assert.equal(far.open().remoteAddress, "::1");
        near.open().destroy();
      });
      await withListener(net, { address: tcp("::") }, async (accepting) => {
        if (net.name === "memory") return;
        const near = dial(net, tcp("127.0.0.1", accepting.port));
        const far = await accepting.at(0);
        assert.deepEqual([far.open().remoteAddress, far.open().localAddress], ["127.0.0.1", "127.0.0.1"]);
        near.open().destroy();
      });
    },
  },
  {
    name: "Unix sockets: bytes, empty addresses, a file that goes away; a live one is in use, a stale one is replaced",
    run: ({ net, kernel }) =>
      withFolder(async (folder) => {
        const address = { kind: "unix", path: join(folder, "s.sock") } as const;
        await withListener(net, { address }, async (accepting) => {
          const [near, far] = await pair(net, accepting);
          near.open().write(bytesOf("local"));
          await far.untilText("local");
          assert.deepEqual([far.open().remoteAddress, far.open().remotePort], ["", 0]);
          assert.deepEqual(accepting.address, address);
          near.open().end();
          await far.untilHeard("end");
          near.open().destroy();
          await assert.rejects(
            net.listen(plainListen({ address }), () => new End()),
            {
              message: `socket ${address.path} is in use`,
            },
          );
        });
        if (kernel) {
          assert.equal(existsSync(address.path), false, "close removes the file");
          // What a killed process leaves behind: a socket that nobody listens on.
          const other = { kind: "unix", path: join(folder, "other.sock") } as const;
          const killed = await net.listen(plainListen({ address: other }), () => new End());
          renameSync(other.path, address.path);
          await killed.close();
          assert.equal(existsSync(address.path), true);
          await (await net.listen(plainListen({ address }), () => new End())).close();
        }
        const missing = dial(net, { kind: "unix", path: join(folder, "none.sock") });
        await missing.untilHeard("close");
        assert.match(missing.error?.message ?? "", /none\.sock: /);
      }),
  },
  {
    name: "Unix sockets: close leaves a successor's file where it is",
    run: ({ net, kernel }) =>
      withFolder(async (folder) => {
        if (!kernel) return;
        const address = { kind: "unix", path: join(folder, "s.sock") } as const;
        const former = await net.listen(plainListen({ address }), () => new End());
        unlinkSync(address.path);
        await withListener(net, { address }, async (accepting) => {
          await former.close();
          await former.close();
          const [near, far] = await pair(net, accepting);
          near.open().write(bytesOf("to the successor"));
          await far.untilText("to the successor");
          near.open().destroy();
          assert.deepEqual(readdirSync(folder), ["s.sock"]);
        });
        assert.deepEqual(readdirSync(folder), []);
      }),
  },
  {
    name: "two listeners share a port with reusePort; without it the port is in use",
    run: async ({ net }) => {
      await withListener(net, { reusePort: true }, async (first) => {
        await withListener(net, { reusePort: true, address: tcp("127.0.0.1", first.port) }, async (second) => {
          assert.equal(second.port, first.port);
          const ends: End[] = [];
          for (let i = 0; i < 64; i++) ends.push(dial(net, first.address));
          for (const end of ends) await end.untilHeard("open");
          while (first.ends.length + second.ends.length < 64) await turns(1);
          assert.ok(first.ends.length > 0 && second.ends.length > 0, `${first.ends.length} and ${second.ends.length}`);
          for (const end of ends) end.open().destroy();
        });
      });
    },
  },
  {
    name: "close stops accepting, keeps connections, frees the port, and may be repeated",
    run: async ({ net }) => {
      const address = tcp("127.0.0.1", net.name === "memory" ? 0 : await freePort());
      await withListener(net, { address }, async (accepting) => {
        const [near, far] = await pair(net, accepting);
        await accepting.listener?.close();
        await accepting.listener?.close();
        const refused = dial(net, accepting.address);
        await refused.untilHeard("close");
        assert.ok(refused.error instanceof Error);
        near.open().write(bytesOf("still works"));
        await far.untilText("still works");
        const again = await net.listen(plainListen({ address: accepting.address }), () => new End());
        await again.close();
        near.open().destroy();
        await far.untilHeard("close");
      });
    },
  },
  {
    name: "a port in use, an address of another machine: the error says which and why",
    run: ({ net }) =>
      withListener(net, {}, async (accepting) => {
        await assert.rejects(
          net.listen(plainListen({ address: accepting.address }), () => new End()),
          {
            message: `port ${accepting.port} on 127.0.0.1 is in use`,
            code: "EADDRINUSE",
          },
        );
        if (net.name === "memory") return;
        await assert.rejects(
          net.listen(plainListen({ address: tcp("192.0.2.1") }), () => new End()),
          {
            message: "port 0 on 192.0.2.1 is not an address of this machine",
          },
        );
      }),
  },
];

async function withFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-net-"));
  try {
    await body(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
