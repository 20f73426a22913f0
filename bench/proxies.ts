/**
 * `npm run bench`: nginx, HAProxy, Envoy and Selvedge in one run, interleaved rounds, medians. Prints a table; with
 * `--write` also docs/benchmarks.{md,json,svg}. `--rounds N`, `--seconds N`, `--only plain,tls,filter,filters`, `--no-pin`.
 *
 * On a machine with two cores or more every proxy runs on the last core alone, load and service on the others: otherwise the
 * kernel moves them about and the caches with them. Within a round they take turns of a quarter of a second, so that what else
 * goes on on the machine (a neighbour on the same host, the clock of the processor) meets all alike; each round starts with
 * another proxy, so that none always follows the same.
 */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { findEnvoy } from "../scripts/peers.mjs";
import { testAuthority } from "../test/kit/certs.ts";
import { buildTwoHeaders } from "./filter-guest.ts";
import {
  describeMachine,
  loadFull,
  measureLatency,
  median,
  PausedLoad,
  processorSeconds,
  type Running,
  residentMegabytes,
  startContender,
} from "./measure.ts";
import { type BenchFiles, backend, type Contender, envoy, haproxy, nginx, type Scenario, selvedge } from "./peers.ts";
import { renderTable, writeDocument } from "./report.ts";

const ROOT = dirname(import.meta.dir);
const CONNECTIONS = 32;
/** Lets just-in-time compilers finish. */
const WARM_UP_SECONDS = 5;
/** One proxy's turn within a round: long enough that cold caches at its start do not count, short beside the noise of a machine. */
const TURN_SECONDS = 0.25;

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "7" },
    seconds: { type: "string", default: "4" },
    only: { type: "string", default: "plain,tls,filter,filters" },
    write: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    "no-pin": { type: "boolean", default: false },
  },
});
const rounds = Number(values.rounds);
const seconds = Number(values.seconds);
const isPinned = cpus().length > 1 && !values["no-pin"] && Bun.which("taskset") !== null;
const proxyCores = isPinned ? String(cpus().length - 1) : undefined;
const otherCores = isPinned ? `0-${cpus().length - 2}` : undefined;

/** One proxy in one scenario: medians over the rounds. */
export interface Row {
  readonly scenario: Scenario;
  readonly name: string;
  /** Processor time, user and system. */
  readonly microsPerRequest: number;
  readonly userMicros: number;
  readonly systemMicros: number;
  /** Median of the ratios to nginx within each round. */
  readonly toNginx: number;
  /** These ratios, one per round. */
  readonly ratios: readonly number[];
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
  /** Whether proxies had a core of their own. */
  readonly pinned: boolean;
  readonly rows: readonly Row[];
}

interface Sample {
  readonly micros: number;
  readonly user: number;
  readonly system: number;
  readonly rate: number;
  readonly megabytes: number;
  readonly failed: number;
}

const say = (line: string): void => void process.stderr.write(`${line}\n`);

async function contendersFor(scenario: Scenario, files: BenchFiles, port: number): Promise<Contender[]> {
  const list = [await nginx(scenario, files, port), await selvedge(ROOT, scenario, files, port)];
  if (scenario === "plain" || scenario === "tls") list.splice(1, 0, await haproxy(scenario, files, port));
  const program = findEnvoy();
  if (program !== undefined)
    list.splice(1, 0, await envoy(program, scenario, files, port, join(ROOT, "dist/filters/transform.wasm")));
  else say("Envoy is missing (SELVEDGE_ENVOY): left out");
  return list;
}

async function measureScenario(scenario: Scenario, files: BenchFiles, backendPort: number): Promise<Row[]> {
  const running: Running[] = [];
  try {
    for (const contender of await contendersFor(scenario, files, backendPort))
      running.push(await startContender(contender, proxyCores));
    for (const each of running) await loadFull(each.contender, CONNECTIONS, WARM_UP_SECONDS, otherCores);
    const samples = running.map((): Sample[] => []);
    for (let round = 0; round < rounds; round++) {
      for (const [i, sample] of (await sampleRound(running, round)).entries()) samples[i]?.push(sample);
      const line = samples.map((list, i) => `${running[i]?.contender.name} ${list.at(-1)?.micros.toFixed(1)} us`).join(", ");
      say(`${scenario}: round ${round + 1} of ${rounds}: ${line}`);
    }
    const halfRate = Math.min(...samples.map((list) => median(list.map((sample) => sample.rate)))) / 2;
    const rows: Row[] = [];
    for (const [i, each] of running.entries()) {
      const latency = await measureLatency(each.contender, halfRate, seconds, files.folder, otherCores);
      rows.push({ scenario, name: each.contender.name, ...summarise(samples[i] ?? [], samples[0] ?? []), ...latency });
    }
    return rows;
  } finally {
    for (const each of running) await each.stop();
  }
}

function summarise(own: readonly Sample[], nginxSamples: readonly Sample[]): Omit<Row, "scenario" | "name" | "p50Ms" | "p99Ms"> {
  const ratios = own.map((sample, round) => sample.micros / (nginxSamples[round]?.micros ?? Number.NaN));
  const medianOf = (read: (sample: Sample) => number): number => median(own.map(read));
  return {
    microsPerRequest: medianOf((sample) => sample.micros),
    userMicros: medianOf((sample) => sample.user),
    systemMicros: medianOf((sample) => sample.system),
    toNginx: median(ratios),
    ratios,
    requestsPerSecond: medianOf((sample) => sample.rate),
    residentMegabytes: medianOf((sample) => sample.megabytes),
    failed: own.reduce((sum, sample) => sum + sample.failed, 0),
  };
}

/** One round: every proxy under load for `seconds`, in turns, this one of them first. */
async function sampleRound(running: readonly Running[], first: number): Promise<Sample[]> {
  const before = running.map((each) => processorSeconds(each.child.pid as number));
  const loads = running.map((each) => new PausedLoad(each.contender, CONNECTIONS, otherCores));
  for (let turn = 0; turn < Math.max(1, Math.round(seconds / TURN_SECONDS)); turn++)
    for (let i = 0; i < loads.length; i++) await loads[(i + first) % loads.length]?.run(TURN_SECONDS);
  const samples: Sample[] = [];
  for (const [i, each] of running.entries()) {
    const pid = each.child.pid as number;
    const { requests, requestsPerSecond: rate, failed } = await (loads[i] as PausedLoad).end();
    const after = processorSeconds(pid);
    const perRequest = 1e6 / Math.max(1, requests);
    const user = (after.user - (before[i]?.user ?? 0)) * perRequest;
    const system = (after.system - (before[i]?.system ?? 0)) * perRequest;
    samples.push({ micros: user + system, user, system, rate, megabytes: residentMegabytes(pid), failed });
  }
  return samples;
}

function versionOf(command: string, ...args: string[]): string {
  const { stdout, stderr } = Bun.spawnSync([command, ...args]);
  return /version:?\s+\S*?(\d+\.\d+\.\d+)/i.exec(`${stdout}${stderr}`)?.[1] ?? "?";
}

const folder = mkdtempSync(join(tmpdir(), "selvedge-bench-"));
try {
  const authority = await testAuthority("bench");
  const certificate = await authority.issue({ dns: ["localhost"], ip: ["127.0.0.1"] });
  const files: BenchFiles = {
    ...{ folder, certificatePath: join(folder, "cert.pem"), keyPath: join(folder, "key.pem") },
    filterPath: join(folder, "filter.wasm"),
  };
  writeFileSync(files.filterPath, buildTwoHeaders());
  writeFileSync(files.certificatePath, certificate.certificatePem);
  writeFileSync(files.keyPath, certificate.keyPem);
  writeFileSync(join(folder, "both.pem"), `${certificate.certificatePem}\n${certificate.keyPem}`);
  const service = await startContender(await backend(folder), otherCores);
  const rows: Row[] = [];
  try {
    for (const scenario of values.only.split(",") as Scenario[])
      rows.push(...(await measureScenario(scenario, files, service.contender.port)));
  } finally {
    await service.stop();
  }
  const envoyProgram = findEnvoy();
  const report: Report = {
    ...describeMachine(),
    versions: {
      bun: Bun.version,
      nginx: versionOf("nginx", "-v"),
      haproxy: versionOf("haproxy", "-v"),
      envoy: envoyProgram === undefined ? "missing" : versionOf(envoyProgram, "--version"),
    },
    rounds,
    secondsPerRound: seconds,
    pinned: isPinned,
    rows,
  };
  process.stdout.write(values.json ? `${JSON.stringify(report, undefined, 2)}\n` : renderTable(report));
  if (values.write) {
    writeFileSync(join(ROOT, "docs/benchmarks.json"), `${JSON.stringify(report, undefined, 2)}\n`);
    writeDocument(join(ROOT, "docs"));
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
