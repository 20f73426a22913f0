// `npm run check`: formatter, linter, types, house rules. One command for everything a change must pass without running it.
import { binary, ensurePackages, step } from "./run.mjs";

await ensurePackages();
await step("biome", binary("biome"), ["check", "--error-on-warnings", "."]);
await step("tsc", binary("tsc"), ["--noEmit"]);
await step("house rules", binary("bun"), ["scripts/tidy.ts"]);
