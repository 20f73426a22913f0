/** On Bun, the portable suites that are in none of the folders with a file like this one: each registers itself when imported. */
import { portableSuites } from "./kit/portable-suites.ts";

for (const suite of portableSuites("others")) await import(suite);
