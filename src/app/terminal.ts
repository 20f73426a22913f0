import process from "node:process";
import type { Terminal } from "../cli/terminal.ts";

/** The terminal of this process. */
export interface ProcessTerminal extends Terminal {
  /**
   * Resolves when everything was handed to the system, or the reader is gone. A pipe takes 64 KiB at a time: a process that
   * exits before cuts what its reader gets.
   */
  drained(): Promise<void>;
}

export function processTerminal(): ProcessTerminal {
  let last: Promise<void> = Promise.resolve();
  let isRead = true;
  const write = (stream: NodeJS.WriteStream, text: string): void => {
    // Called back in order, with an error when nobody reads any more. (An empty write is called back at once on Bun.)
    const written = new Promise<void>(
      (resolve) =>
        void stream.write(text, (error) => {
          if (error !== null && error !== undefined && stream === process.stdout) isRead = false;
          resolve();
        }),
    );
    last = last.then(() => written);
  };
  // `selvedge schema | head -1`: the reader has what it wanted, which is not an error.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
  return {
    out: (text) => write(process.stdout, text),
    error: (text) => write(process.stderr, text),
    env: process.env,
    isTty: process.stdout.isTTY === true,
    cwd: process.cwd(),
    readStdin: async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of process.stdin) chunks.push(Buffer.from(chunk));
      return Buffer.concat(chunks).toString("utf8");
    },
    drained: () => last,
    flushed: () => last.then(() => isRead),
  };
}
