import assert from "node:assert/strict";
import { attacksOf, GROUP_NAMES } from "../kit/attack-groups.ts";
import { Bystander, repeat } from "../kit/attacks.ts";
import { describe, test } from "../kit/suite.ts";

/** The table of attacks, each a few times; a thousand times, and what memory does meanwhile, is test/long/attacks.test.ts. */
const TIMES = { callback: 2, load: 1 };

for (const group of GROUP_NAMES) {
  describe(`attacks: ${group}`, () => {
    const bystander = new Bystander();
    for (const attack of attacksOf(group)) {
      test(attack.name, async () => {
        const times = TIMES[attack.kind];
        const outcomes = await repeat(attack, times, bystander);
        assert.equal(
          [...outcomes.values()].reduce((sum, each) => sum + each, 0),
          times,
        );
      });
    }
  });
}
