// Finds or obtains what spans are sent to in test/long/tracing.test.ts: Zipkin (Maven's package) and the OpenTelemetry collector (Go modules).
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { cacheFolder } from "./nats.mjs";
import { obtainDebian } from "./peers.mjs";
import { ROOT, run } from "./run.mjs";

const ZIPKIN = "io.zipkin:zipkin-server:3.5.1:jar:exec";
const COLLECTOR = "v0.145.0";
const COLLECTOR_MODULES = [
  "go.opentelemetry.io/collector/otelcol",
  "go.opentelemetry.io/collector/receiver/otlpreceiver",
  "github.com/open-telemetry/opentelemetry-collector-contrib/exporter/fileexporter",
];

/** Variables with the paths of both for the suite; what is missing is said, and its tests fail. */
export async function obtainTraceStores(print) {
  return {
    SELVEDGE_ZIPKIN: await obtain("zipkin", "zipkin-server-exec.jar", fetchZipkin, print),
    SELVEDGE_OTEL_COLLECTOR: await obtain(`otel-collector-${COLLECTOR}`, "otelcol", buildCollector, print),
  };
}

/** Made in a folder of its own and moved: half a file is never found. */
async function obtain(folder, name, make, print) {
  const kept = join(cacheFolder(), folder);
  const path = join(kept, name);
  if (existsSync(path)) return path;
  mkdirSync(kept, { recursive: true });
  const place = mkdtempSync(join(kept, "new-"));
  try {
    await make(place, print);
    renameSync(join(place, name), path);
  } catch (error) {
    print(`${name}: MISSING, its tests will fail: ${error.message}`);
  } finally {
    // Go keeps its modules without the right to write.
    rmSync(place, { recursive: true, force: true });
  }
  return path;
}

async function fetchZipkin(place, print) {
  const missing = await obtainDebian({ java: "default-jre-headless", mvn: "maven" }, print);
  if (missing.length > 0) throw new Error(`${missing.join(" and ")} needed (Debian: default-jre-headless, maven)`);
  print("fetching Zipkin with Maven (130 MB)");
  await say(
    "mvn",
    ["-q", "-B", "dependency:copy", `-Dartifact=${ZIPKIN}`, `-DoutputDirectory=${place}`, "-Dmdep.stripVersion=true"],
    place,
  );
}

async function buildCollector(place, print) {
  const go = ["/usr/local/go/bin/go", "/opt/homebrew/bin/go"].find(existsSync) ?? "go";
  print("building the OpenTelemetry collector with Go (some minutes)");
  copyFileSync(join(ROOT, "test/long/otel-collector.go"), join(place, "main.go"));
  await say(go, ["mod", "init", "collector"], place);
  await say(go, ["get", ...COLLECTOR_MODULES.map((module) => `${module}@${COLLECTOR}`)], place);
  await say(go, ["build", "-mod=mod", "-o", "otelcol", "."], place);
}

async function say(command, args, cwd) {
  const { code, output } = await run(command, args, { cwd, capture: true, env: { GOFLAGS: "-mod=mod" } });
  if (code !== 0) throw new Error(`${command} ${args[0]} failed: ${output.trim().split("\n").slice(-3).join(" / ")}`);
}
