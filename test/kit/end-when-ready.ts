// Loaded before a program: it gets a real SIGTERM in the moment that it prints the text of END_WHEN, before anything else of it runs.
import process from "node:process";

const wanted = process.env.END_WHEN ?? "";
for (const stream of [process.stdout, process.stderr]) {
  const write = stream.write.bind(stream) as (...args: readonly unknown[]) => boolean;
  stream.write = (...args: readonly unknown[]): boolean => {
    const more = write(...args);
    if (wanted !== "" && String(args[0]).includes(wanted)) process.kill(process.pid, "SIGTERM");
    return more;
  };
}
