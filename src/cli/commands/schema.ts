import { hintFor } from "../../config/suggest.ts";
import { type Command, CommandError, EXIT } from "../command.ts";
import { KINDS, parseKind } from "../reference.ts";

export const command: Command = {
  name: "schema",
  summary: "print JSON Schema of the resources",
  description: "Prints JSON Schema of one kind, or of a document of any kind, for editors: completion and checks while you type.",
  arguments: "[<kind>]",
  argumentSuggestions: KINDS,
  argumentsMax: 1,
  flags: [],
  examples: [
    { says: "for an editor: all kinds in one schema", line: "selvedge schema > selvedge.schema.json" },
    { says: "one kind", line: "selvedge schema Route" },
  ],
  async run(context) {
    const { jsonSchema } = await import("../../config/schema/index.ts");
    const [wanted] = context.args;
    const kind = KINDS.find((each) => wanted !== undefined && each === parseKind(wanted));
    // One that is not ours passes `parseKind`.
    if (wanted !== undefined && kind === undefined)
      throw new CommandError(`there is no schema of ${JSON.stringify(wanted)}`, hintFor(wanted, KINDS), EXIT.usage);
    const schema = jsonSchema(kind);
    context.terminal.out(`${JSON.stringify(schema, null, 2)}\n`);
    return EXIT.ok;
  },
};
