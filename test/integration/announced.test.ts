// Who reads that a process is ready may end it at once: signals are heard before anything is announced.
import { expect, test } from "bun:test";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { inFolder } from "../kit/command-line.ts";
import { startNats } from "../kit/nats.ts";
import { TEST_MS } from "../kit/patience.ts";
import { type Finished, freePort, startProgram } from "../kit/selvedge.ts";

const pathOf = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));

/** What a command ends with when SIGTERM comes while it prints `ready`. */
function endWhenReady(args: readonly string[], ready: string): Promise<Finished> {
  const all = ["--preload", pathOf("../kit/end-when-ready.ts"), pathOf("../../src/app/main.ts"), ...args];
  const env = { ...process.env, NO_COLOR: "1", SELVEDGE_TIED: "1", END_WHEN: ready };
  return startProgram(process.execPath, all, { env, tied: true }).finished;
}

const gateway = async (): Promise<string> => `apiVersion: selvedge.dev/v1
kind: Gateway
metadata: { name: main }
spec: { listeners: [{ port: ${await freePort()}, address: 127.0.0.1 }] }
`;
const local = async (): Promise<string> => `127.0.0.1:${await freePort()}`;

test(
  "proxy, control and up end with 0 when they are asked to in the moment that they say they are there",
  async () => {
    const nats = await startNats();
    try {
      await inFolder({ "proxy.yaml": await gateway(), "up.yaml": await gateway() }, async (folder) => {
        const state = join(folder, "state");
        const flags = ["--nats", "off", "--workers", "1", "--admin", await local(), "--listen", await local()];
        const ended = await Promise.all([
          endWhenReady(["proxy", "-f", join(folder, "proxy.yaml"), "--mode", "sidecar", "--admin", "off"], "selvedge proxy"),
          endWhenReady(["control", "--nats", nats.url, "--listen", await local()], "selvedge control"),
          endWhenReady(["up", "-f", join(folder, "up.yaml"), "--state-dir", state, ...flags], "Ctrl-C stops everything"),
        ]);
        expect(ended.map(({ code, error }) => (code === 0 ? 0 : error))).toEqual([0, 0, 0]);
      });
    } finally {
      await nats.stop();
    }
  },
  TEST_MS,
);

test(
  "what up says to try makes a listener where there is none, and asks what there is for the new route",
  async () => {
    await inFolder({ "up.yaml": await gateway() }, async (folder) => {
      const up = async (state: string, ...more: readonly string[]): Promise<string> => {
        const flags = ["--nats", "off", "--workers", "1", "--admin", "off", "--listen", await local()];
        const ended = await endWhenReady(
          ["up", "--state-dir", join(folder, state), ...flags, ...more],
          "Ctrl-C stops everything",
        );
        expect([ended.code, ended.code === 0 ? "" : ended.error]).toEqual([0, ""]);
        return ended.out;
      };
      const [empty, configured] = [await up("empty"), await up("configured", "-f", join(folder, "up.yaml"))];
      expect(empty).toMatch(
        /^Try\n {2}echo 'apiVersion.*\nkind: Gateway\n(.*\n)*kind: Route\n.*\n.* && curl -i http:\S+:8080\/news$/m,
      );
      expect(configured).not.toContain("kind: Gateway");
      const [, url] = /^ {2}gateway {2}(\S+)$/m.exec(configured) ?? [];
      expect(configured).toContain(` && curl -i ${url}/news\n`);
    });
  },
  TEST_MS,
);
