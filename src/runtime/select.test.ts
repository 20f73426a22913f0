import { expect, test } from "bun:test";
import { selectNet } from "./select.ts";

test("Bun's sockets on Bun, node's on demand, nothing else", async () => {
  expect((await selectNet({})).name).toBe("bun");
  expect((await selectNet({ SELVEDGE_NET: "" })).name).toBe("bun");
  expect((await selectNet({ SELVEDGE_NET: "bun" })).name).toBe("bun");
  expect((await selectNet({ SELVEDGE_NET: "node" })).name).toBe("node");
  expect(selectNet({ SELVEDGE_NET: "nodejs" })).rejects.toThrow('SELVEDGE_NET is "nodejs"');
});
