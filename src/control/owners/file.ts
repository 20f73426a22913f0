import { z } from "zod";
import { formatIssue } from "../../config/issue.ts";
import { isSubjectToken } from "../../config/nats/names.ts";
import { KINDS } from "../../config/schema/index.ts";
import { hostPattern, list, partName, readCidr, readHost } from "../../config/schema/names.ts";
import { Refusal, textOf } from "../../config/schema/text.ts";

/** A namespace, or `*` for all. */
const namespaces = () => list(z.union([z.literal("*"), partName()]));

/** Where a publisher's services may lead. */
const destination = () =>
  textOf("host or address block", (text) => {
    const block = readCidr(text);
    return block instanceof Refusal ? readHost(text, true) : block;
  });

/** Subjects that filters of a publisher may be let publish to: `*` for one token, `>` at the end for all that follow. */
const subjectPattern = () =>
  textOf("subject pattern", (text) => {
    const tokens = text.split(".");
    const isWhole = tokens.every((token, i) => /^(?:[^\s*>]+|\*)$/.test(token) || (token === ">" && i === tokens.length - 1));
    return isWhole ? text : new Refusal("bad_subject", "Not a pattern of subjects.", "shop.orders, shop.* or shop.>");
  });

const publisher = z.strictObject({
  namespaces: namespaces().min(1),
  kinds: list(z.enum(["*", ...KINDS])).prefault(["Route", "Service"]),
  hosts: list(hostPattern()).prefault([]),
  uses: namespaces().prefault([]),
  endpoints: list(destination()).optional(),
  publishes: list(subjectPattern()).prefault([]),
});

const ownersFile = z.strictObject({
  publishers: z.record(
    textOf("publisher", (text) =>
      isSubjectToken(text) ? text : new Refusal("bad_name", "Not the name of a publisher.", "letters, digits, - and _"),
    ),
    publisher,
  ),
});

/** What one publisher may write. */
export type PublisherRights = z.output<typeof publisher>;

/** Rights by the publisher's name. */
export type OwnersFile = ReadonlyMap<string, PublisherRights>;

/**
 * Reads the text (YAML or JSON) of the file that `--owners` names, `file` in what is said of it. Throws an `Error` that says
 * everything that is wrong with it, with line, column and hint.
 */
export async function parseOwners(text: string, file = "owners"): Promise<OwnersFile> {
  const { readYaml } = await import("../../config/read-yaml.ts");
  const read = readYaml(ownersFile, text, file, {});
  if ("value" in read) return new Map(Object.entries(read.value.publishers));
  throw new Error(read.map(formatIssue).join("; "));
}
