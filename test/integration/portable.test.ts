/** The portable suites of this folder on Bun: each registers itself with bun:test when imported. */
import { portableSuites } from "../kit/portable-suites.ts";

for (const suite of portableSuites("integration")) await import(suite);
