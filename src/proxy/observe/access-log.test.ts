import { afterEach, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeHead, makeRecord } from "../../../test/kit/record.ts";
import { until } from "../../../test/kit/until.ts";
import type { AccessLogConfig } from "../../config/snapshot.ts";
import { utf8Text } from "../../core/bytes.ts";
import { SystemClock, VirtualClock } from "../../core/clock.ts";
import { HeaderBlock } from "../../core/head.ts";
import { SILENT_LOG } from "../../core/log.ts";
import { SeededRng } from "../../core/rng.ts";
import { ByteWriter } from "../../core/writer.ts";
import { AccessLog } from "./access-log.ts";
import { AccessLogLine } from "./access-log-line.ts";
import { BATCH_LIMITS, BatchWriter } from "./batch-writer.ts";
import type { ExchangeRecord } from "./record.ts";
import { REDACTED, redactQuery } from "./redact.ts";

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

function newFile(): string {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-log-"));
  folders.push(folder);
  return join(folder, "access.log");
}

const config = (path: string, changes: Partial<AccessLogConfig> = {}): AccessLogConfig => ({
  enabled: true,
  path,
  sample: 1,
  filter: undefined,
  requestHeaders: [],
  responseHeaders: [],
  ...changes,
});

/** Logs the records as the settings say and reads what is in the file. */
async function logged(changes: Partial<AccessLogConfig>, records: readonly ExchangeRecord[]): Promise<Record<string, unknown>[]> {
  const path = newFile();
  const log = new AccessLog(new SystemClock(), new SeededRng(5), SILENT_LOG);
  log.configure(config(path, changes));
  for (const record of records) log.onExchangeEnd(record);
  await log.close();
  const lines = readFileSync(path, "utf8").split("\n");
  expect(lines.pop()).toBe("");
  return lines.map((line) => JSON.parse(line));
}

/** The line of one exchange, as text. */
function lineOf(formatter: AccessLogLine, record: ExchangeRecord): string {
  const out = new ByteWriter();
  formatter.write(record, out);
  return utf8Text(out.view());
}

function append(writer: BatchWriter, line: string): void {
  const out = writer.beginLine();
  if (out === undefined) return;
  out.utf8(line);
  writer.endLine();
}

describe("access log line", () => {
  test("has its fields in the documented order, with the time of the end", () => {
    const clock = new VirtualClock(Date.UTC(2026, 0, 2, 3, 4, 5, 60));
    const line = lineOf(new AccessLogLine(clock, [], []), makeRecord({ startMs: 0.5, firstByteMs: 1, endMs: 2.25 }));
    expect(line).toBe(
      '{"time":"2026-01-02T03:04:05.062Z","id":"0123456789abcdef0123456789abcdef","trace":"fedcba9876543210fedcba9876543210"' +
        ',"client":"192.0.2.7","listener":"default/main/http","method":"GET","authority":"shop.example","path":"/items"' +
        ',"protocol":"HTTP/1.1","status":200,"answered_by":"upstream"' +
        ',"route":"default/shop","rule":"0","service":"default/shop","endpoint":"10.0.0.1:80","attempts":1' +
        ',"request_bytes":10,"response_bytes":56,"duration_us":1750,"first_byte_us":500}\n',
    );
  });

  test("no field of a peer can forge anything: every field set to nasty text reads back as it was", () => {
    const rng = new SeededRng(99);
    const alphabet = ['"', "\\", "\n", "\r", "\0", "\u2028", "}", ",", ":", "{", "x", "\ud800", '","status":999,"x":"'];
    const nasty = (): string => Array.from({ length: rng.below(12) }, () => alphabet[rng.below(alphabet.length)]).join("");
    const formatter = new AccessLogLine(new VirtualClock(), ["user-agent", "x-nasty"], ["server"]);
    for (let i = 0; i < 3000; i++) {
      const [method, authority, path, query, agent, server, id, route, note] = Array.from({ length: 9 }, nasty) as string[];
      const record = makeRecord({
        request: makeHead({ method: method ?? "", query: query ?? "", headers: HeaderBlock.from([["user-agent", agent ?? ""]]) }),
        originalAuthority: authority ?? "",
        originalPath: (path ?? "").replaceAll("?", ""),
        requestId: id ?? "",
        routeName: route ?? "",
        filterNotes: new Map([[note ?? "", note ?? ""]]),
        responseHeader: () => server,
        status: 404,
        failure: "no_route",
      });
      const text = lineOf(formatter, record);
      expect(text.indexOf("\n")).toBe(text.length - 1);
      const read = JSON.parse(text);
      expect([read.method, read.authority, read.path, read.id, read.route ?? "", read.status]).toEqual([
        method,
        authority,
        path,
        id,
        route,
        404,
      ]);
      expect(read.request_headers["user-agent"]).toBe(agent);
      expect(read.response_headers.server).toBe(server);
      expect(Object.keys(read).filter((key) => key === "x")).toEqual([]);
    }
  });

  test("credentials never reach the log, even when asked for", () => {
    const secret = "s3cr3t-value";
    const names = ["Authorization", "cookie", "proxy-authorization", "X-API-Key", "set-cookie", "x-plain"];
    const headers = HeaderBlock.from(names.map((name) => [name, name === "x-plain" ? "fine" : secret]));
    const line = lineOf(
      new AccessLogLine(new VirtualClock(), names, ["Set-Cookie"]),
      makeRecord({
        request: makeHead({
          headers,
          query: `a=1&access_token=${secret}&b=2&API_KEY=${secret}&acc%65ss_token=${secret}&c%zz=${secret}`,
        }),
        responseHeader: () => secret,
      }),
    );
    expect(line).not.toContain(secret);
    expect(JSON.parse(line).request_headers).toEqual({ "x-plain": "fine" });
    expect(JSON.parse(line).query).toStartWith(`a=1&access_token=${REDACTED}&b=2&API_KEY=${REDACTED}`);
  });

  test("a query without credentials is left alone", () => {
    for (const query of ["", "a=1", "a", "&&", "=x", "a=1&b=2&c", "tokens=1&mytoken=2"]) expect(redactQuery(query)).toBe(query);
    expect(redactQuery("token=1")).toBe(`token=${REDACTED}`);
    expect(redactQuery("x&token=1&")).toBe(`x&token=${REDACTED}&`);
  });

  test("a long path is cut, so that one exchange cannot fill the log", () => {
    const line = lineOf(new AccessLogLine(new VirtualClock(), [], []), makeRecord({ originalPath: `/${"a".repeat(60_000)}` }));
    expect(line.length).toBeLessThan(4000);
    expect(JSON.parse(line).path).toEndWith("…");
  });

  test("follows the wall clock when it jumps", () => {
    const clock = new VirtualClock(Date.UTC(2026, 0, 1));
    const formatter = new AccessLogLine(clock, [], []);
    clock.advance(61_000);
    expect(JSON.parse(lineOf(formatter, makeRecord({ endMs: 61_000 }))).time).toBe("2026-01-01T00:01:01.000Z");
    expect(JSON.parse(lineOf(formatter, makeRecord({ endMs: 60_007 }))).time).toBe("2026-01-01T00:01:00.007Z");
  });
});

describe("filters in the access log", () => {
  const runs = [
    { name: "default/a", verdict: "continue", spentMs: 0.0123, waitedMs: 0, fuel: 900 },
    { name: 'default/b"x', verdict: "filter_failed", spentMs: 3, waitedMs: 7.5, fuel: 12_000 },
  ];
  const record = (changes: Partial<ExchangeRecord> = {}): ExchangeRecord => ({
    ...makeRecord(),
    filterRuns: () => runs,
    ...changes,
  });
  const [first, second] = [
    { name: "default/a", verdict: "continue", us: 12, fuel: 900 },
    { name: 'default/b"x', verdict: "filter_failed", us: 3000, waited_us: 7500, fuel: 12_000 },
  ];

  test("all of them when asked, in order, beside the ids that join the line with others; nothing by default", async () => {
    const [line] = await logged({ filters: true }, [record()]);
    expect(line).toMatchObject({ filters: [first, second], id: expect.any(String), trace: expect.any(String) });
    const unknown = [{ name: "default/a", verdict: "continue", spentMs: undefined, waitedMs: 0, fuel: undefined }];
    const [late] = await logged({ filters: true }, [record({ filterRuns: () => unknown })]);
    expect(late?.filters).toEqual([{ name: "default/a", verdict: "continue" }]);
    const [plain] = await logged({}, [record()]);
    expect(plain).not.toHaveProperty("filters");
    const [none] = await logged({ filters: true }, [record({ filterRuns: () => [] })]);
    expect(none).not.toHaveProperty("filters");
  });

  test("a slow one is named though nobody asked for detail, and its request is logged whatever the sample", async () => {
    const slow = { ...second, slow: true };
    expect((await logged({ slowFilterMs: 10 }, [record()]))[0]?.filters).toEqual([slow]);
    expect((await logged({ slowFilterMs: 10, filters: true }, [record()]))[0]?.filters).toEqual([first, slow]);
    expect((await logged({ slowFilterMs: 10.5 }, [record()]))[0]).not.toHaveProperty("filters");
    const quiet = { sample: 0, filter: { minStatus: 599, minDurationMs: undefined, routes: undefined } };
    expect(await logged({ slowFilterMs: 10.5, ...quiet }, [record()])).toEqual([]);
    expect((await logged({ slowFilterMs: 10, ...quiet }, [record()])).map(({ filters }) => filters)).toEqual([[slow]]);
  });

  test("an answer that a filter gave names the filter, with its details", async () => {
    const answered = { answeredBy: "filter", answeringFilter: "default/b", answerDetails: "rate limited" };
    expect((await logged({}, [record(answered)]))[0]).toMatchObject({
      ...{ answered_by: "filter", filter: "default/b", detail: "rate limited" },
    });
  });
});

describe("access log settings", () => {
  test("sampling keeps its share, and every failure", async () => {
    const good = Array.from({ length: 1000 }, () => makeRecord());
    const bad = [makeRecord({ status: 500 }), makeRecord({ status: 404, failure: "no_route" })];
    const lines = await logged({ sample: 0.1 }, [...good, ...bad]);
    expect(lines.filter(({ status }) => status === 200).length).toBeGreaterThan(60);
    expect(lines.filter(({ status }) => status === 200).length).toBeLessThan(140);
    expect(lines.filter(({ status }) => status !== 200).map(({ status }) => status)).toEqual([500, 404]);
    expect(await logged({ sample: 0 }, [...good, ...bad])).toHaveLength(2);
  });

  test("a filter is the conjunction of its conditions", async () => {
    const records = [
      makeRecord({ status: 200, routeName: "default/a", startMs: 0, endMs: 100 }),
      makeRecord({ status: 400, routeName: "default/a", startMs: 0, endMs: 100 }),
      makeRecord({ status: 400, routeName: "default/b", startMs: 0, endMs: 100 }),
      makeRecord({ status: 400, routeName: "default/a", startMs: 0, endMs: 99 }),
    ];
    const filter = { minStatus: 400, minDurationMs: 100, routes: ["default/a"] };
    expect(await logged({ filter }, records)).toHaveLength(1);
    // Failures are always logged.
    expect(await logged({ filter }, [makeRecord({ status: 404, failure: "no_route" })])).toHaveLength(1);
    const none = { minStatus: undefined, minDurationMs: undefined, routes: undefined };
    expect(await logged({ filter: none }, records)).toHaveLength(4);
  });

  test("a new snapshot switches file and fields; counts of the old file are not lost", async () => {
    const [first, second] = [newFile(), newFile()];
    const log = new AccessLog(new SystemClock(), new SeededRng(1), SILENT_LOG);
    log.onExchangeEnd(makeRecord());
    log.configure(config(first));
    log.onExchangeEnd(makeRecord());
    log.configure(config(second, { requestHeaders: ["user-agent"] }));
    log.onExchangeEnd(makeRecord());
    await log.flush();
    let lines = 0;
    await until(() => {
      lines += log.takeCounts().lines;
      return lines === 2;
    });
    log.configure(config(second, { enabled: false }));
    log.onExchangeEnd(makeRecord());
    await log.close();
    await new Promise<void>((resolve) => new SystemClock().setTimer(50, resolve));
    expect(readFileSync(first, "utf8").split("\n")).toHaveLength(2);
    expect(readFileSync(second, "utf8")).toContain('"request_headers":{"user-agent":"test/1"}');
  });
});

describe("BatchWriter", () => {
  test.each([false, true])("writes a batch when it is large, else after its time (deferred: %p)", async (deferred) => {
    const path = newFile();
    const clock = new VirtualClock();
    const writer = new BatchWriter(path, clock, SILENT_LOG, deferred);
    append(writer, "one\n");
    clock.advance(BATCH_LIMITS.flushMs - 1);
    expect(readFileSync(path, "utf8")).toBe("");
    clock.advance(1);
    await writer.flush();
    expect(readFileSync(path, "utf8")).toBe("one\n");
    append(writer, `${"x".repeat(BATCH_LIMITS.flushBytes)}\n`);
    await writer.flush();
    expect(readFileSync(path, "utf8").length).toBe(4 + BATCH_LIMITS.flushBytes + 1);
    await writer.close();
    expect(clock.pending).toBe(0);
  });

  test("drops and counts what comes while too much waits, and goes on afterwards", async () => {
    const path = newFile();
    const writer = new BatchWriter(path, new VirtualClock(), SILENT_LOG, true);
    const line = `${"y".repeat(1023)}\n`;
    const fitting = BATCH_LIMITS.pendingBytes / line.length;
    // The first full batch leaves at once and counts no more; all the rest waits, because nothing is awaited here.
    for (let i = 0; i < fitting + 2 * 64 + 10; i++) append(writer, line);
    expect(writer.takeCounts().dropped).toBeGreaterThan(0);
    await writer.flush();
    const counts = writer.takeCounts();
    append(writer, "after\n");
    await writer.close();
    const text = readFileSync(path, "utf8");
    expect(text.split("\n").length - 1).toBe(counts.lines + 1);
    expect(text).toEndWith("after\n");
  });

  test("goes on in a new file after a rotation, and loses nothing", async () => {
    const path = newFile();
    const writer = new BatchWriter(path, new VirtualClock(), SILENT_LOG);
    append(writer, "before\n");
    await writer.flush();
    renameSync(path, `${path}.1`);
    append(writer, "between\n");
    writer.reopen();
    append(writer, "after\n");
    await writer.close();
    const all = readFileSync(`${path}.1`, "utf8") + readFileSync(path, "utf8");
    expect(all).toBe("before\nbetween\nafter\n");
    expect(readFileSync(path, "utf8")).toEndWith("after\n");
  });

  test("a file that cannot be opened costs lines, not the process", async () => {
    const file = newFile();
    writeFileSync(file, "");
    // A file where a folder would have to be: this fails for every user.
    const writer = new BatchWriter(join(file, "access.log"), new VirtualClock(), SILENT_LOG);
    append(writer, "lost\n");
    expect(writer.takeCounts()).toEqual({ lines: 0, dropped: 1 });
    await writer.close();
  });

  test("two writers of one file never mix their lines", async () => {
    const path = newFile();
    const writers = [new BatchWriter(path, new SystemClock(), SILENT_LOG), new BatchWriter(path, new SystemClock(), SILENT_LOG)];
    for (let i = 0; i < 4000; i++)
      for (const [n, writer] of writers.entries()) append(writer, `${n}${"abcdefghij".repeat(20)}${n}\n`);
    await Promise.all(writers.map((writer) => writer.close()));
    const lines = readFileSync(path, "utf8").trimEnd().split("\n");
    expect(lines).toHaveLength(8000);
    for (const line of lines) expect(line).toMatch(/^(0(abcdefghij){20}0|1(abcdefghij){20}1)$/);
  });
});
