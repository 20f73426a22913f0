import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cluster, httpListener, startEnvoy, wasmFilter } from "../../kit/envoy.ts";
import { assembleModule, type Case } from "./format.ts";
import { type HostUnderTest, NODE, type Peers, type Stage } from "./play.ts";

/** All cases in one process of the real Envoy: a listener, a cluster and a VM for each. `waitMs`: until it has compiled their modules. */
export async function startOnEnvoy(stages: readonly Stage[], peers: Peers, waitMs?: number): Promise<HostUnderTest> {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-conformance-"));
  // Envoy's listeners are found again by the order of their names.
  const sorted = stages.toSorted((a, b) => a.each.name.localeCompare(b.each.name));
  const listeners = sorted.map((stage) => listenerFor(stage, folder));
  const clusters = [
    ...sorted.map(({ each, upstreamPort }) => withTrailers(cluster(`default/up-${each.name}`, upstreamPort))),
    withTrailers(cluster("aside", peers.asidePort)),
    ...peers.aliases.map((name) => cluster(name, peers.asidePort)),
    cluster("nobody", peers.deadPort),
  ];
  try {
    const envoy = await startEnvoy(listeners, clusters, { id: NODE.id, cluster: NODE.group }, waitMs);
    const indexes = new Map(sorted.map(({ each }, i) => [each.name, i]));
    return {
      host: "envoy",
      port: ({ name }) => envoy.ports[indexes.get(name) as number] as number,
      lines: (each) => linesOf(envoy.log(), each),
      async stop() {
        await envoy.stop();
        rmSync(folder, { recursive: true, force: true });
      },
    };
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

function listenerFor({ each }: Stage, folder: string): object {
  const path = join(folder, `${each.name}.wasm`);
  writeFileSync(path, assembleModule(each));
  const filter = wasmFilter(`default/${each.name}`, path, each.configuration ?? each.script ?? "", {
    rootId: each.rootId,
    bodyBehindPausedHead: each.pauseHolds === "head",
  });
  return httpListener(each.name, [filter], `default/up-${each.name}`, { trailers: true });
}

const withTrailers = (plain: object): object => ({
  ...plain,
  typed_extension_protocol_options: {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
      "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
      explicit_http_config: { http_protocol_options: { enable_trailers: true } },
    },
  },
});

/**
 * `… wasm log PLUGIN ROOT VM: text`; lines of a plugin lack the first name. The first and the last are the same here. While a VM starts there is
 * no name at all: such a line is taken by the case that expects it.
 */
function linesOf(log: string, { name, rootId = "", logs = [] }: Case): string[] {
  const root = rootId === "" ? "" : `| ${rootId}`;
  const mark = new RegExp(`\\] wasm log((?: default/${name}${root}){1,3})?: (.*)$`);
  return log.split("\n").flatMap((line) => {
    const [, names, text = ""] = mark.exec(line) ?? [];
    return names !== undefined || logs.includes(text) ? [text] : [];
  });
}
