import { type Command, EXIT } from "../command.ts";
import { KINDS, parseKind } from "../reference.ts";

export const command: Command = {
  name: "schema",
  summary: "print JSON Schema of the resources",
  description: "Prints JSON Schema of one kind, or of a document of any kind, for editors: completion and checks while you type.",
  arguments: "[<kind>]",
  argumentsMax: 1,
  flags: [],
  examples: [
    { says: "for an editor: all kinds in one schema", line: "selvedge schema > selvedge.schema.json" },
    { says: "one kind", line: "selvedge schema Route" },
  ],
  async run(context) {
    const { jsonSchema } = await import("../../config/schema/index.ts");
    const wanted = context.args[0];
    const kind = wanted === undefined ? undefined : parseKind(wanted);
    const schema = jsonSchema(KINDS.find((each) => each === kind));
    context.terminal.out(`${JSON.stringify(schema, null, 2)}\n`);
    return EXIT.ok;
  },
};
