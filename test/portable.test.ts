/** The portable suites on Bun: each registers itself with bun:test when imported. */
import { portableSuites } from "./kit/portable-suites.ts";

for (const suite of portableSuites()) await import(suite);
