// Only the single executable has this (scripts/build-binary.mjs): the bundler puts the files of these imports inside.
import { fileURLToPath } from "node:url";
import authz from "../../dist/filters/authz.wasm" with { type: "file" };
import rateLimit from "../../dist/filters/rate-limit.wasm" with { type: "file" };
import templates from "../../dist/filters/templates.bundle" with { type: "file" };
import transform from "../../dist/filters/transform.wasm" with { type: "file" };
import { embedFile } from "../runtime/embedded.ts";

embedFile("filters/authz.wasm", authz);
embedFile("filters/rate-limit.wasm", rateLimit);
embedFile("filters/transform.wasm", transform);
embedFile("filters/templates.bundle", templates);
// Its second entry: a thread starts with a file of its own.
embedFile("threads/prepare", fileURLToPath(new URL("./filters/guest/prepare-thread.js", import.meta.url)));
