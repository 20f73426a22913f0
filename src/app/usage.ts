import process from "node:process";

/** Memory and processor time of this process. */
export function processUsage(): { readonly residentBytes: number; readonly cpuUs: number } {
  const { user, system } = process.cpuUsage();
  return { residentBytes: process.memoryUsage.rss(), cpuUs: user + system };
}
