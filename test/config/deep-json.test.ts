import { expect, test } from "bun:test";
import { describeModule } from "../../src/cli/filter/describe.ts";
import { canonicalJson, sha256Digest } from "../../src/config/canonical.ts";
import { declaredCapabilities } from "../../src/config/compile/declared.ts";
import { readJwks } from "../../src/config/compile/jwks.ts";
import { secretsOfModule } from "../../src/config/module-secrets.ts";
import { METADATA_SECTION, summariseModule } from "../../src/config/module-summary.ts";
import { parseAnnouncement, parseManifest } from "../../src/config/nats/manifest.ts";
import { logsSubject } from "../../src/config/nats/names.ts";
import { filterSpec } from "../../src/config/schema/filter.ts";
import { settingsValue } from "../../src/config/secret-values.ts";
import { joinSections } from "../../src/config/section-joiner.ts";
import { cutSections } from "../../src/config/sections.ts";
import { checkSettings } from "../../src/config/settings-schema.ts";
import { appendCustomSection } from "../../src/config/wasm-sections.ts";
import { LogQuestions } from "../../src/control/distribute/log-questions.ts";
import { utf8Bytes, utf8Text } from "../../src/core/bytes.ts";
import { VirtualClock } from "../../src/core/clock.ts";
import type { FilterLogQuery } from "../../src/core/filter-logs.ts";
import { CONFIG_LIMITS, FILTER_LOG_LIMITS } from "../../src/core/limits.ts";
import { readAnswer } from "../../src/filters/extism/answer.ts";
import { readHttpRequest } from "../../src/filters/extism/http-request.ts";
import { readKeySet } from "../../src/filters/jwt/keys.ts";
import { parseObject } from "../../src/filters/jwt/token.ts";
import { snapshotOf } from "../kit/snapshot.ts";

/** `depth` lists in each other. */
const nested = (depth: number): string => "[".repeat(depth) + "]".repeat(depth);
const EMPTY = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);
const moduleThatSays = (text: string): Uint8Array => appendCustomSection(EMPTY, METADATA_SECTION, utf8Bytes(text));
const JWK = '{"kty":"EC","crv":"P-256"}';

function isTaken(read: () => unknown): boolean {
  try {
    read();
    return true;
  } catch {
    return false;
  }
}

function messageOf(read: () => unknown): string {
  try {
    read();
    return "";
  } catch (error) {
    return String(error);
  }
}

function isJoined(more: string): boolean {
  const { digests, bytes } = cutSections(snapshotOf());
  const text = utf8Bytes(`{"more":${more},${utf8Text(bytes.get(digests.mesh ?? "") ?? EMPTY).slice(1)}`);
  const sections = { ...digests, mesh: sha256Digest(text) };
  const manifest = {
    revision: 1,
    digest: sha256Digest(canonicalJson(sections)),
    group: "g",
    sections,
    modules: [],
    publishedAtMs: 0,
  };
  return isTaken(() => joinSections(manifest, (digest) => (digest === sections.mesh ? text : bytes.get(digest))));
}

async function isAnswered(more: string): Promise<boolean> {
  let asked = "";
  const clock = new VirtualClock();
  const questions = new LogQuestions(clock, (_, text) => {
    asked = JSON.parse(text).question;
  });
  const page = questions.ask("edge", { filter: "default/f" } as FilterLogQuery);
  const answer = `{"question":"${asked}","page":{"cursor":"","lines":[],"more":false,"lost":0},"x":${more}}`;
  questions.onAnswer(logsSubject("edge"), utf8Bytes(answer));
  clock.advance(FILTER_LOG_LIMITS.answerMs);
  return (await page) !== undefined;
}

const schema = '{"type":"object","properties":{"a":{"type":"string"}}}';
const manifest = `{"revision":1,"digest":"sha256:${"0".repeat(64)}","group":"g","sections":{},"modules":[]`;

/** Is a text taken as what it says? `more` stands one level down in it. */
const READERS: readonly (readonly [name: string, isTakenWith: (more: string) => boolean | Promise<boolean>])[] = [
  ["schemas of settings", (more) => checkSettings(moduleThatSays(`{"settings":${schema},"x":${more}}`), '{"a":1}').length === 1],
  ["secrets of modules", (more) => !secretsOfModule(moduleThatSays(`{"x":${more}}`)).isSecret],
  ["names of modules", (more) => summariseModule(moduleThatSays(`{"name":"f","x":${more}}`)).name === "f"],
  [
    "capabilities that are declared",
    (more) => declaredCapabilities(moduleThatSays(`{"capabilities":{"random":true},"x":${more}}`)) !== undefined,
  ],
  ["modules that are inspected", (more) => typeof describeModule(moduleThatSays(`{"x":${more}}`)).metadata === "object"],
  ["sections", isJoined],
  ["manifests", (more) => isTaken(() => parseManifest(utf8Bytes(`${manifest},"x":${more}}`)))],
  ["announcements", (more) => isTaken(() => parseAnnouncement(utf8Bytes(`${manifest},"x":${more}}`)))],
  ["keys in configuration", (more) => readJwks(`{"keys":[${JWK}],"x":${more}}`) !== "It is not JSON"],
  ["keys that were fetched", (more) => !JSON.stringify(readKeySet(`{"keys":[${JWK}],"x":${more}}`)).includes("not JSON")],
  ["tokens", (more) => parseObject(utf8Bytes(`{"sub":"ann","x":${more}}`)) !== undefined],
  ["answers of plug-ins", (more) => !messageOf(() => readAnswer(`{"x":${more}}`, "request")).includes("no JSON")],
  ["requests of plug-ins", (more) => !String(readHttpRequest(`{"x":${more}}`, EMPTY, 1_000)).includes("no JSON")],
  ["answers of proxies", isAnswered],
  ["settings", (more) => typeof settingsValue(`{"x":${more}}`) === "object"],
];

for (const [name, isTakenWith] of READERS) {
  test(`${name} are read as deep as anything may be nested, and no deeper`, async () => {
    expect([await isTakenWith(nested(CONFIG_LIMITS.depth - 1)), await isTakenWith(nested(CONFIG_LIMITS.depth))]).toEqual([
      true,
      false,
    ]);
  });
}

test("a text as settings is no JSON in disguise, however deep", () => {
  const isText = (settings: string): boolean => filterSpec.shape.settings.safeParse(settings).success;
  expect([isText("SecRule A"), isText("[[no JSON"), isText(nested(3)), isText(nested(100))]).toEqual([true, true, false, false]);
});
