/**
 * `npm run bench`: nginx, HAProxy, Envoy and Selvedge in one run, interleaved rounds, medians. Prints a table; with
 * `--write` also docs/benchmarks.{md,json,svg}. `--rounds N`, `--seconds N`, `--only plain,tls,filters`.
 */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { findEnvoy } from "../scripts/peers.mjs";
import { testAuthority } from "../test/kit/certs.ts";
import { cpuSeconds, loadFull, measureLatency, median, type Running, residentMegabytes, startContender } from "./measure.ts";
import { type BenchFiles, backend, type Contender, envoy, haproxy, nginx, type Scenario, selvedge } from "./peers.ts";
import { renderMarkdown, renderSvg, renderTable } from "./report.ts";

const ROOT = dirname(import.meta.dir);
const CONNECTIONS = 32;

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "7" },
    seconds: { type: "string", default: "4" },
    only: { type: "string", default: "plain,tls,filters" },
    write: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  },
});
const rounds = Number(values.rounds);
const seconds = Number(values.seconds);

/** One proxy in one scenario: medians over the rounds. */
export interface Row {
  readonly scenario: Scenario;
  readonly name: string;
  readonly microsPerRequest: number;
  /** Median of the ratios to nginx within each round. */
  readonly toNginx: number;
  readonly requestsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly residentMegabytes: number;
  readonly failed: number;
}

export interface Report {
  readonly date: string;
  readonly machine: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly rounds: number;
  readonly secondsPerRound: number;
  readonly rows: readonly Row[];
}

interface Sample {
  readonly micros: number;
  readonly rate: number;
  readonly megabytes: number;
  readonly failed: number;
}

const say = (line: string): void => void process.stderr.write(`${line}\n`);

async function contendersFor(scenario: Scenario, files: BenchFiles, port: number): Promise<Contender[]> {
  const list = [await nginx(scenario, files, port), await selvedge(ROOT, scenario, files, port)];
  if (scenario !== "filters") list.splice(1, 0, await haproxy(scenario, files, port));
  const program = findEnvoy();
  if (program !== undefined)
    list.splice(1, 0, await envoy(program, scenario, files, port, join(ROOT, "dist/filters/transform.wasm")));
  else say("Envoy is missing (SELVEDGE_ENVOY): left out");
  return list;
}

async function measureScenario(scenario: Scenario, files: BenchFiles, backendPort: number): Promise<Row[]> {
  const running: Running[] = [];
  try {
    for (const contender of await contendersFor(scenario, files, backendPort)) running.push(await startContender(contender));
    for (const each of running) await loadFull(each.contender, CONNECTIONS, 3);
    const samples = running.map((): Sample[] => []);
    for (let round = 0; round < rounds; round++) {
      for (const [i, each] of running.entries()) samples[i]?.push(await sampleOf(each));
      say(
        `${scenario}: round ${round + 1} of ${rounds}: ${samples.map((list, i) => `${running[i]?.contender.name} ${list.at(-1)?.micros.toFixed(1)} us`).join(", ")}`,
      );
    }
    const halfRate = Math.min(...samples.map((list) => median(list.map((sample) => sample.rate)))) / 2;
    return running.map((each, i) => {
      const own = samples[i] as Sample[];
      const latency = measureLatency(each.contender, halfRate, seconds, files.folder);
      return {
        scenario,
        name: each.contender.name,
        microsPerRequest: median(own.map((sample) => sample.micros)),
        toNginx: median(own.map((sample, round) => sample.micros / (samples[0]?.[round]?.micros ?? Number.NaN))),
        requestsPerSecond: median(own.map((sample) => sample.rate)),
        p50Ms: latency.p50Ms,
        p99Ms: latency.p99Ms,
        residentMegabytes: median(own.map((sample) => sample.megabytes)),
        failed: own.reduce((sum, sample) => sum + sample.failed, 0),
      };
    });
  } finally {
    for (const each of running) await each.stop();
  }
}

async function sampleOf(each: Running): Promise<Sample> {
  const pid = each.child.pid as number;
  const before = cpuSeconds(pid);
  const load = await loadFull(each.contender, CONNECTIONS, seconds);
  const micros = ((cpuSeconds(pid) - before) * 1e6) / Math.max(1, load.requests);
  return { micros, rate: load.requestsPerSecond, megabytes: residentMegabytes(pid), failed: load.failed };
}

function versionOf(command: string, ...args: string[]): string {
  const { stdout, stderr } = Bun.spawnSync([command, ...args]);
  return /\d+\.\d+(\.\d+)?/.exec(`${stdout}${stderr}`)?.[0] ?? "?";
}

const folder = mkdtempSync(join(tmpdir(), "selvedge-bench-"));
try {
  const authority = await testAuthority("bench");
  const certificate = await authority.issue({ dns: ["localhost"], ip: ["127.0.0.1"] });
  const files: BenchFiles = { folder, certificatePath: join(folder, "cert.pem"), keyPath: join(folder, "key.pem") };
  writeFileSync(files.certificatePath, certificate.certificatePem);
  writeFileSync(files.keyPath, certificate.keyPem);
  writeFileSync(join(folder, "both.pem"), `${certificate.certificatePem}\n${certificate.keyPem}`);
  const service = await startContender(await backend(folder));
  const rows: Row[] = [];
  try {
    for (const scenario of values.only.split(",") as Scenario[])
      rows.push(...(await measureScenario(scenario, files, service.contender.port)));
  } finally {
    await service.stop();
  }
  const envoyProgram = findEnvoy();
  const report: Report = {
    date: new Date().toISOString().slice(0, 10),
    machine: `${cpus().length} × ${cpus()[0]?.model ?? "?"}, ${Math.round(totalmem() / 2 ** 30)} GiB, ${process.platform} ${process.arch}`,
    versions: {
      bun: Bun.version,
      nginx: versionOf("nginx", "-v"),
      haproxy: versionOf("haproxy", "-v"),
      envoy: envoyProgram === undefined ? "missing" : versionOf(envoyProgram, "--version").replace(/^.*\//, ""),
    },
    rounds,
    secondsPerRound: seconds,
    rows,
  };
  process.stdout.write(values.json ? `${JSON.stringify(report, undefined, 2)}\n` : renderTable(report));
  if (values.write) {
    writeFileSync(join(ROOT, "docs/benchmarks.json"), `${JSON.stringify(report, undefined, 2)}\n`);
    writeFileSync(join(ROOT, "docs/benchmarks.svg"), renderSvg(report));
    writeFileSync(join(ROOT, "docs/benchmarks.md"), renderMarkdown(report));
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
