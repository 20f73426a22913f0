/** Writes access-log lines to a file that cannot grow for ever, then makes room and writes more; prints what it counted. */
import { truncateSync } from "node:fs";
import process from "node:process";
import { SystemClock } from "../../src/core/clock.ts";
import { SILENT_LOG } from "../../src/core/log.ts";
import { BatchWriter } from "../../src/proxy/observe/batch-writer.ts";

/** One line of 96 bytes and a part of the next. */
const KEPT_BYTES = 150;
const [path = "", deferred] = process.argv.slice(2);
const writer = new BatchWriter(path, new SystemClock(), SILENT_LOG, deferred === "deferred");

async function append(count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    writer.beginLine()?.latin1(`${JSON.stringify({ line: i, text: "x".repeat(80) })}\n`);
    writer.endLine();
    // Batches of three.
    if (i % 3 === 2) await writer.flush();
  }
  await writer.flush();
}

await append(100);
const full = writer.takeCounts();
process.stdout.write(`${JSON.stringify(full)}\n`);
// Room again, and still a line that was torn at the end.
truncateSync(path, KEPT_BYTES);
await append(10);
process.stdout.write(`${JSON.stringify(writer.takeCounts())}\n`);
await writer.close();
