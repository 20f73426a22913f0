import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import type { FilterAbi } from "../../../src/config/snapshot.ts";

/**
 * The table: what filters do, written once for all ABIs. A case is a test of `selvedge filter test` (docs/filters.md, "The test
 * table") whose filter is a script, `does`, in the language of test/guests/component-actor; `but` says what one ABI does otherwise.
 */

export const ABIS: readonly FilterAbi[] = ["proxy-wasm", "component", "extism"];

/** A row of the matrix that docs/filters-porting.md shows. */
export interface Feature extends Readonly<Record<FilterAbi, string>> {
  readonly id: string;
  readonly says: string;
  /** The suite that has it, when this table cannot. */
  readonly suite?: string;
}

type Commands = string | { readonly repeat: string; readonly times: number };
type Parts = Readonly<Record<string, unknown>>;

interface Written {
  readonly name: string;
  readonly feature?: string;
  readonly does: Readonly<Record<string, Commands>>;
  readonly but?: Readonly<Partial<Record<FilterAbi, Partial<Written> & { readonly why: string }>>>;
  readonly capabilities?: Parts;
}

/** A case for one ABI. */
export interface Case {
  readonly name: string;
  readonly feature: string;
  readonly script: string;
  /** As a test of `selvedge filter test`, but for its settings. */
  readonly test: Parts;
}

interface Refusal {
  /** At the head of a request, or of an answer. */
  readonly does?: string;
  readonly answer?: string;
  readonly why: string;
  readonly grants?: Parts;
}
interface Break {
  readonly does: string;
  readonly says: string;
}
interface CaseFile {
  readonly feature: string;
  readonly tests: readonly Written[];
  readonly refusals?: readonly Refusal[];
  readonly breaks?: readonly Break[];
}

const folder = fileURLToPath(new URL("./", import.meta.url));
const read = (path: string): unknown => parse(readFileSync(`${folder}${path}`, "utf8"));

export const FEATURES = read("features.yaml") as readonly Feature[];
/** "no", or "no: a reason". */
export const can = (feature: Feature, abi: FilterAbi): boolean => !/^no\b(?! )|^no$/.test(feature[abi]);

const ALL = { read: ["**"], write: ["**"] };
/** What the actor's imports need, and every field: what is granted by default has cases of its own. */
const GRANTED: Parts = {
  ...{ callouts: ["callee"], random: true, nats: { publish: ["shop.orders"] } },
  ...{ headers: { request: ALL, response: ALL }, attributes: ALL },
};

/** All cases that an ABI can play. */
export function casesOf(abi: FilterAbi): readonly Case[] {
  const files = readdirSync(`${folder}cases`).sort();
  return files.flatMap((file) => expand(read(`cases/${file}`) as CaseFile, abi));
}

function expand(file: CaseFile, abi: FilterAbi): Case[] {
  const written = [...file.tests, ...refused(file.refusals ?? [], abi), ...(file.breaks ?? []).flatMap(broken)];
  return written.flatMap((each) => {
    const feature = each.feature ?? file.feature;
    const row = FEATURES.find(({ id }) => id === feature);
    if (row === undefined) throw new Error(`${each.name}: no feature ${feature}`);
    return can(row, abi) ? [caseOf(each, feature, abi)] : [];
  });
}

function caseOf(written: Written, feature: string, abi: FilterAbi): Case {
  const { does, but, feature: _, capabilities, ...own } = written;
  const { why: _why, does: otherDoes = does, ...other } = but?.[abi] ?? { why: "" };
  const asked = "steps" in own ? {} : { request: {} };
  const budget = { memory: "4MiB", ...(written as { budget?: Parts }).budget };
  const test: Parts = { ...asked, ...own, ...other, budget, capabilities: { ...GRANTED, ...capabilities } };
  return { name: written.name, feature, script: scriptOf(otherDoes), test: "refused" in test ? onlyRefused(test) : test };
}

/** A filter that does not start has no exchange. */
function onlyRefused({ name, budget, capabilities, refused }: Parts): Parts {
  return { name, capabilities, refused, ...(budget === undefined ? {} : { budget }) };
}

function scriptOf(does: Written["does"]): string {
  const text = (commands: Commands): string =>
    typeof commands === "string" ? commands : new Array<string>(commands.times).fill(commands.repeat).join("; ");
  return Object.entries(does)
    .map(([callback, commands]) => `${callback}: ${text(commands)}`)
    .join("\n");
}

/**
 * Changes that are not made: the message stays as it was. Where each call has an answer, those with the same grants are one case; an
 * answer of Extism is taken as a whole or not at all, so there each fails an exchange.
 */
function refused(refusals: readonly Refusal[], abi: FilterAbi): Written[] {
  if (abi === "extism")
    return refusals.map((each) => {
      const expect = {
        verdict: "fail",
        ...(each.does === undefined ? {} : { upstream: null }),
        failure: { contains: "filter_failed" },
      };
      return refusal([each], expect);
    });
  const groups = Map.groupBy(refusals, ({ does, grants }) => `${does === undefined} ${JSON.stringify(grants)}`);
  return [...groups.values()].map((group) => {
    const logs = group.map(({ does, answer }) => ({ matches: `^${(does ?? answer ?? "").replace(/[+]/g, ".")}: invalid$` }));
    return refusal(group, { verdict: "continue", upstream: SENT, response: SENT_BACK, logs });
  });
}

function refusal(group: readonly Refusal[], expect: Parts): Written {
  const commands = group.map(({ does, answer }) => does ?? answer).join("; ");
  const { does, grants } = group[0] as Refusal;
  return {
    name: `refused: ${group.map(({ why }) => why).join("; ")}`,
    does: { [does === undefined ? "response-head" : "request-head"]: commands },
    ...(grants === undefined ? {} : { capabilities: { headers: grants } }),
    ...{ request: { headers: { "user-agent": "test" } }, upstream: { headers: { "set-cookie": "a=1" } }, expect },
  } as Written;
}

const SENT = { method: "GET", path: "/", host: "example.com", headers: { "user-agent": "test", ...absent() } };
const SENT_BACK = { status: 200, headers: { "set-cookie": "a=1", ...absent() } };

/** Fields that refusals are about. */
function absent(): Record<string, null> {
  const names = ["x-split", "x-wide", "b", "x", "y", "x-a", "transfer-encoding", "connection", "upgrade", "content-length"];
  return Object.fromEntries([...names, "x-forwarded-for", "authorization"].map((name) => [name, null]));
}

const PLACES = ["request-head", "request-body", "response-head", "response-body"] as const;

/** Breaks it in every place, closed and open; the next exchange meets a new instance. */
function broken({ does, says }: Break): Written[] {
  return PLACES.flatMap((place) =>
    (place.endsWith("head") ? (["closed", "open"] as const) : (["closed"] as const)).map((onFailure) => {
      // A head that went on is not called back: the answer is cut off.
      const late = place === "response-body";
      const closed = { verdict: "fail", failure: { contains: says }, response: late ? { complete: false } : { status: 500 } };
      const open = { verdict: "continue", upstream: { body: "asked" }, response: { status: 200, body: "answered" } };
      const exchange = { request: { method: "POST", body: "asked" }, upstream: { body: "answered" } };
      return {
        name: `${does} in ${place}, ${onFailure}`,
        does: { [place]: does },
        onFailure,
        steps: [1, 2].map(() => ({ ...exchange, expect: onFailure === "open" ? open : closed })),
      } as Written;
    }),
  );
}
