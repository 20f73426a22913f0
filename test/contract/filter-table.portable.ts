import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, test } from "../kit/suite.ts";
import { playCase } from "./filter-table/guests.ts";
import { ABIS, can, casesOf, FEATURES } from "./filter-table/table.ts";

/** What filters do, the same in every ABI: the cases of filter-table/cases with one guest for each. */

const REPOSITORY = fileURLToPath(new URL("../../", import.meta.url));

for (const abi of ABIS) {
  describe(`filters: ${abi}`, () => {
    for (const each of casesOf(abi)) {
      test(`${each.feature}: ${each.name}`, async () => {
        const { failures, logs } = await playCase(each, abi);
        const lines = logs.map(({ level, text }) => `  ${level} ${text}`).join("\n");
        assert.deepEqual(failures, [], `its lines:\n${lines}`);
      });
    }
  });
}

describe("filters: what each ABI can do", () => {
  test("the documented matrix is the table's", () => {
    const docs = readFileSync(`${REPOSITORY}docs/filters-porting.md`, "utf8");
    const rows = FEATURES.map((feature) => `| ${feature.says} | ${ABIS.map((abi) => feature[abi]).join(" | ")} |`);
    assert.equal(docs.includes(`|---|---|---|---|\n${rows.join("\n")}\n\n`), true, `"Which ABI" must have:\n${rows.join("\n")}`);
  });

  test("whatever an ABI can do has a case there, or a suite of its own", () => {
    for (const abi of ABIS) {
      const tested = new Set(casesOf(abi).map(({ feature }) => feature));
      for (const feature of FEATURES) {
        if (feature.suite === undefined) assert.equal(tested.has(feature.id), can(feature, abi), `${abi}: ${feature.id}`);
        else assert.ok(existsSync(`${REPOSITORY}${feature.suite}`), feature.suite);
      }
    }
  });
});
