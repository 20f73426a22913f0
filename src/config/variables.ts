import type { IssueCode } from "./codes.ts";

export interface Substitution {
  readonly text: string;
  readonly problems: readonly { readonly code: IssueCode; readonly message: string; readonly hint: string }[];
}

type Env = Readonly<Record<string, string | undefined>>;

/**
 * Replaces `${NAME}` and `${NAME:-default}`; `$$` is a dollar sign. Values are put in as they are: they are not searched
 * again, and they cannot become more than the scalar they stand in.
 */
export function substituteVariables(text: string, env: Env): Substitution {
  const problems: { code: IssueCode; message: string; hint: string }[] = [];
  const replaced = text.replace(/\$(\$|\{([^}]*)(\}?))/g, (whole, escaped: string, inside: string | undefined, close: string) => {
    if (escaped === "$") return "$";
    const reference = /^([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$/s.exec(inside ?? "");
    if (reference === null || close === "") {
      const message = `${JSON.stringify(whole.slice(0, 60))} is not a variable.`;
      // biome-ignore lint/suspicious/noTemplateCurlyInString: what users write
      problems.push({ code: "bad_variable", message, hint: "${NAME} or ${NAME:-default}; $${ for a literal one" });
      return whole;
    }
    const name = reference[1] as string;
    const value = Object.hasOwn(env, name) ? env[name] : undefined;
    // As in a shell: `:-` also replaces an empty value.
    if (value !== undefined && (value !== "" || reference[2] === undefined)) return value;
    if (reference[2] !== undefined) return reference[2];
    const hint = `set it, or give a default: \${${name}:-value}`;
    problems.push({ code: "missing_variable", message: `The environment variable ${name} is not set.`, hint });
    return "";
  });
  return { text: replaced, problems };
}

/** What YAML's core schema reads in a plain scalar: a number, a boolean, or the text. */
export function retype(text: string): string | number | boolean {
  if (text === "true" || text === "false") return text === "true";
  if (!/^[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?$/.test(text)) return text;
  const value = Number(text);
  return Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value)) ? value : text;
}
