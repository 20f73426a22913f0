/** Log lines of filters as a proxy keeps them: bounded, read by a cursor, each line once. */
import assert from "node:assert/strict";
import { VirtualClock } from "../src/core/clock.ts";
import { FilterLogs, readFilterLogPage, readFilterLogQuery } from "../src/core/filter-logs.ts";
import { FILTER_LOG_LIMITS } from "../src/core/limits.ts";
import { describe, test } from "./kit/suite.ts";

const [DEBUG, INFO, WARN, ERROR] = [1, 2, 3, 4];
const FILTER = "default/a";

function newLogs(): { clock: VirtualClock; logs: FilterLogs; say: (text: string, level?: number, filter?: string) => void } {
  const clock = new VirtualClock();
  const logs = new FilterLogs(clock);
  return { clock, logs, say: (text, level = INFO, filter = FILTER) => logs.add(filter, level, text, undefined, 0) };
}
const textsOf = (page: { readonly lines: readonly { readonly message: string }[] }): string[] =>
  page.lines.map(({ message }) => message);

describe("lines of filters", () => {
  test("are read once each by a cursor, and cost nothing between", () => {
    const { logs, say } = newLogs();
    assert.deepEqual(logs.page({ filter: FILTER }), { cursor: "", lines: [], more: false, lost: 0 });
    say("one");
    say("two");
    const first = logs.page({ filter: FILTER });
    assert.deepEqual(textsOf(first), ["one", "two"]);
    assert.deepEqual(textsOf(logs.page({ filter: FILTER, after: first.cursor })), []);
    say("three");
    say("of another", INFO, "default/b");
    assert.deepEqual(textsOf(logs.page({ filter: FILTER, after: first.cursor })), ["three"]);
  });

  test("of a level, since a time, the last ones; what was not wanted is not read later", () => {
    const { clock, logs, say } = newLogs();
    say("old", ERROR);
    clock.advance(1_000);
    const sinceMs = clock.wallMs();
    for (const level of [DEBUG, INFO, WARN, ERROR]) say(`level ${level}`, level);
    assert.deepEqual(textsOf(logs.page({ filter: FILTER, level: "warn" })), ["old", "level 3", "level 4"]);
    assert.deepEqual(textsOf(logs.page({ filter: FILTER, level: "warn", sinceMs })), ["level 3", "level 4"]);
    const last = logs.page({ filter: FILTER, tail: 1 });
    assert.deepEqual(textsOf(last), ["level 4"]);
    assert.deepEqual(textsOf(logs.page({ filter: FILTER, tail: 0 })), []);
    assert.deepEqual(textsOf(logs.page({ filter: FILTER, after: last.cursor })), []);
  });

  test("so many are kept, and who comes too late hears how many are gone", () => {
    const { logs, say } = newLogs();
    const { lines } = FILTER_LOG_LIMITS;
    say("first");
    const { cursor } = logs.page({ filter: FILTER });
    for (let i = 1; i < lines; i++) say(`${i}`);
    assert.equal(textsOf(logs.page({ filter: FILTER })).length, lines);
    assert.equal(logs.page({ filter: FILTER, after: cursor }).lost, 0);
    for (let i = 0; i < 3; i++) say("more");
    const page = logs.page({ filter: FILTER, after: cursor });
    assert.deepEqual([page.lines.length, page.lost], [lines, 2]);
    assert.equal(logs.page({ filter: FILTER }).lost, 0);
  });

  test("a line is cut at its bytes, between characters", () => {
    const { logs, say } = newLogs();
    const { lineBytes } = FILTER_LOG_LIMITS;
    const fits = ["x".repeat(lineBytes), "é".repeat(lineBytes / 2), "😀".repeat(lineBytes / 4)];
    for (const text of fits) say(text);
    for (const text of fits) say(`${text}x`);
    const read = textsOf(logs.page({ filter: FILTER }));
    assert.deepEqual(read.slice(0, 3), fits);
    for (const text of read.slice(3)) {
      assert.ok(Buffer.byteLength(text) <= lineBytes && Buffer.byteLength(text) > lineBytes - 4);
      assert.match(text, /^(x+|é+|(😀)+)…$/u);
    }
  });

  test("long lines push out the oldest of the same filter; a filter that chatters does not push out what others said", () => {
    const { logs, say } = newLogs();
    say("quiet", INFO, "default/quiet");
    const long = "x".repeat(FILTER_LOG_LIMITS.lineBytes);
    const fit = Math.floor(FILTER_LOG_LIMITS.filterBytes / (FILTER_LOG_LIMITS.lineBytes + 1));
    const countOf = (filter: string): number => {
      let [count, after] = [0, ""];
      for (;;) {
        const page = logs.page({ filter, after });
        count += page.lines.length;
        after = page.cursor;
        if (!page.more) return count;
      }
    };
    for (let i = 0; i < fit + 10; i++) say(long);
    assert.ok(countOf(FILTER) <= fit && countOf(FILTER) > fit * 0.9);
    const filters = Math.ceil(FILTER_LOG_LIMITS.bytes / FILTER_LOG_LIMITS.filterBytes) + 4;
    for (let f = 0; f < filters; f++) for (let i = 0; i < fit; i++) say(long, INFO, `default/f${f}`);
    const kept = Array.from({ length: filters }, (_, f) => countOf(`default/f${f}`)).reduce(
      (sum, each) => sum + each,
      countOf(FILTER),
    );
    assert.ok(kept * FILTER_LOG_LIMITS.lineBytes <= FILTER_LOG_LIMITS.bytes, `${kept} lines`);
    assert.ok(kept * FILTER_LOG_LIMITS.lineBytes > FILTER_LOG_LIMITS.bytes * 0.8, `${kept} lines`);
    assert.equal(countOf("default/quiet"), 1);
  });

  test("of so many filters; the one that has been silent for longest goes", () => {
    const { logs, say } = newLogs();
    for (let i = 0; i < FILTER_LOG_LIMITS.filters; i++) say("x", INFO, `default/f${i}`);
    say("again", INFO, "default/f0");
    assert.ok(logs.has("default/f1"));
    say("x", INFO, "default/new");
    assert.deepEqual([logs.has("default/f0"), logs.has("default/f1"), logs.has("default/new")], [true, false, true]);
  });

  test("an answer holds so much, and what follows is read with the next; a line alone always passes", () => {
    const { logs, say } = newLogs();
    // Six characters of JSON for each byte.
    const long = "\u0001".repeat(FILTER_LOG_LIMITS.lineBytes);
    const count = 30;
    for (let i = 0; i < count; i++) say(`${i} ${long}`);
    let [pages, after, read] = [0, "", [] as string[]];
    for (;;) {
      const page = logs.page({ filter: FILTER, after });
      assert.ok(Buffer.byteLength(JSON.stringify(page.lines)) <= FILTER_LOG_LIMITS.pageBytes + 2);
      pages++;
      read = [...read, ...textsOf(page)];
      after = page.cursor;
      if (!page.more) break;
    }
    assert.equal(pages, 3);
    assert.deepEqual(
      read.map((text) => text.split(" ")[0]),
      Array.from({ length: count }, (_, i) => `${i}`),
    );
  });

  test("a cursor of another life of the proxy, or that is none, counts as none", () => {
    const { clock, logs, say } = newLogs();
    say("one");
    const { cursor } = logs.page({ filter: FILTER });
    clock.advance(5);
    const next = new FilterLogs(clock);
    next.add(FILTER, WARN, "after the restart", "id-1", 3);
    for (const after of [cursor, "", "1.2", "x", `${cursor}0`.replace(/^\d+/, "9".repeat(400))])
      assert.deepEqual(next.page({ filter: FILTER, after }).lines, [
        { timeMs: clock.wallMs(), filter: FILTER, level: "warn", message: "after the restart", requestId: "id-1", dropped: 3 },
      ]);
    assert.deepEqual(textsOf(logs.page({ filter: FILTER, after: cursor.replace(/\d+$/, "999") })), []);
  });

  test("of several processes: each hands over what is new, and the line says where it was said", async () => {
    const { logs, clock } = newLogs();
    const worker = new FilterLogs(clock);
    worker.add(FILTER, INFO, "one", undefined, 0);
    logs.refresh = async () => logs.merge(worker.takeAll(), 1);
    const page = await logs.read({ filter: FILTER });
    assert.deepEqual(
      page.lines.map(({ message, worker }) => [message, worker]),
      [["one", 1]],
    );
    assert.deepEqual([worker.has(FILTER), (await logs.read({ filter: FILTER, after: page.cursor })).lines], [false, []]);
  });

  test("questions and answers from a network are what they should be, or nothing", () => {
    assert.deepEqual(readFilterLogQuery({ filter: "a/b", level: "warn", tail: 0, sinceMs: 1, after: "", more: 1 }), {
      ...{ filter: "a/b", level: "warn", tail: 0, sinceMs: 1, after: "" },
    });
    for (const bad of [
      null,
      1,
      {},
      { filter: 1 },
      { filter: "a", level: "loud" },
      { filter: "a", tail: -1 },
      { filter: "a", sinceMs: "1" },
    ])
      assert.equal(readFilterLogQuery(bad), undefined);
    const line = { timeMs: 1, filter: "a/b", level: "info", message: "x" };
    const page = { cursor: "", more: false, lost: 0 };
    assert.deepEqual(readFilterLogPage({ ...page, lines: [{ ...line, evil: 1, worker: "0" }] }), { ...page, lines: [line] });
    for (const bad of [{ ...line, timeMs: 9e15 }, { ...line, level: "x" }, { ...line, message: 1 }, null])
      assert.equal(readFilterLogPage({ ...page, lines: [bad] }), undefined);
    for (const bad of [{ ...page, lines: {} }, { ...page, lines: [], lost: -1 }, [], null])
      assert.equal(readFilterLogPage(bad), undefined);
  });
});
