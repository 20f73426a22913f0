import process from "node:process";

/** Linux: CPU time of the calling thread. Compilers and collectors have threads of their own, and other programs do not count. */
const THREAD_CPU = 3;

/** Milliseconds of CPU that this thread has used, where the runtime and the system tell; else those of the whole process. */
export async function threadClock(): Promise<() => number> {
  const time = new BigInt64Array(2);
  const read = (): number => Number(time[0]) * 1000 + Number(time[1]) / 1e6;
  try {
    if ("Bun" in globalThis) {
      const { dlopen, ptr } = await import("bun:ffi");
      const { symbols } = dlopen("libc.so.6", { clock_gettime: { args: ["i32", "ptr"], returns: "i32" } });
      const at = ptr(time);
      return () => (symbols.clock_gettime(THREAD_CPU, at) === 0 ? read() : Number.NaN);
    }
    const { Deno } = globalThis as unknown as { Deno: DenoFfi };
    const { symbols } = Deno.dlopen("libc.so.6", { clock_gettime: { parameters: ["i32", "buffer"], result: "i32" } });
    return () => (symbols.clock_gettime(THREAD_CPU, time) === 0 ? read() : Number.NaN);
  } catch {
    return () => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1000;
    };
  }
}

interface DenoFfi {
  dlopen(
    library: string,
    symbols: Readonly<Record<string, { readonly parameters: readonly string[]; readonly result: string }>>,
  ): { readonly symbols: { clock_gettime(clock: number, time: BigInt64Array): number } };
}
