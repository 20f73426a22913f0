import { CONFIG_LIMITS } from "../../core/limits.ts";
import { compareText } from "../canonical.ts";
import type { IssueCode } from "../codes.ts";
import type { CompileOptions } from "../compile.ts";
import type { ConfigIssue } from "../issue.ts";
import { formatPath, type IssuePath } from "../parse.ts";
import { type Kind, type Resource, resourceKey } from "../schema/index.ts";
import type { FileOrInline } from "../schema/tls.ts";
import { formatSize } from "../schema/units.ts";
import type { ResourceName } from "../snapshot.ts";
import { hintFor } from "../suggest.ts";

interface Names {
  readonly key: string;
  readonly full: ResourceName;
}

/** Most resources stay the same from one compile to the next: their names stay the same texts, whose hashes are known. */
const names = new WeakMap<Resource, Names>();

function namesOf(resource: Resource): Names {
  let known = names.get(resource);
  if (known === undefined) {
    known = { key: resourceKey(resource), full: `${resource.metadata.namespace}/${resource.metadata.name}` };
    names.set(resource, known);
  }
  return known;
}

export const fullName = (resource: Resource): ResourceName => namesOf(resource).full;

/** What every part of the compiler needs: the resources by name, files, and a place to put issues. */
export class CompileContext {
  readonly issues: ConfigIssue[] = [];
  readonly warnings: ConfigIssue[] = [];
  readonly modules = new Map<string, Uint8Array>();
  readonly #byKey = new Map<string, Resource>();
  readonly #byKind = new Map<Kind, Resource[]>();
  #needs: string[] | undefined;
  /** What `has` found out. */
  readonly #met = new Map<string, boolean>();

  constructor(
    readonly resources: readonly Resource[],
    readonly options: CompileOptions,
  ) {
    for (const resource of resources) {
      const { key } = namesOf(resource);
      if (this.#byKey.has(key)) {
        this.report(resource, ["metadata", "name"], "duplicate_resource", `There is another ${key}.`, "rename or remove one");
      } else {
        this.#byKey.set(key, resource);
      }
    }
  }

  /** The resources of a kind, sorted by name. */
  ofKind<K extends Kind>(kind: K): readonly Extract<Resource, { kind: K }>[] {
    let sorted = this.#byKind.get(kind);
    if (sorted === undefined) {
      sorted = sortNearlySorted([...this.#byKey.values()].filter((each) => each.kind === kind));
      this.#byKind.set(kind, sorted);
    }
    return sorted as Extract<Resource, { kind: K }>[];
  }

  /** Runs `compile` and says what it needed to exist; undefined needs: it had issues, so its result must not be kept. */
  trackNeeds<T>(compile: () => T): { value: T; needs: readonly string[] | undefined } {
    const before = this.issues.length + this.warnings.length;
    const needs: string[] = [];
    this.#needs = needs;
    const value = compile();
    this.#needs = undefined;
    return { value, needs: this.issues.length + this.warnings.length === before ? needs : undefined };
  }

  /** Does everything still exist that something compiled before needed? */
  has(needs: readonly string[]): boolean {
    for (const need of needs) {
      let met = this.#met.get(need);
      if (met === undefined) {
        met = this.#isMet(need);
        this.#met.set(need, met);
      }
      if (!met) return false;
    }
    return true;
  }

  #isMet(need: string): boolean {
    const [key = "", subset] = need.split("#");
    const found = this.#byKey.get(key);
    if (found === undefined || subset === undefined) return found !== undefined;
    return found.kind === "Service" && found.spec.subsets.some((each) => each.name === subset);
  }

  need(need: string): void {
    this.#needs?.push(need);
  }

  find<K extends Kind>(kind: K, name: ResourceName): Extract<Resource, { kind: K }> | undefined {
    const found = this.#byKey.get(`${kind} ${name}`);
    return found?.kind === kind ? (found as Extract<Resource, { kind: K }>) : undefined;
  }

  report(resource: Resource, path: IssuePath, code: IssueCode, message: string, hint = ""): void {
    this.issues.push(this.#issue(resource, path, code, message, hint));
  }

  warn(resource: Resource, path: IssuePath, code: IssueCode, message: string, hint = ""): void {
    this.warnings.push(this.#issue(resource, path, code, message, hint));
  }

  #issue(resource: Resource, path: IssuePath, code: IssueCode, message: string, hint: string): ConfigIssue {
    const place = this.options.locate?.(resource, path) ?? { file: "", line: 0, column: 0 };
    return { code, message, hint, resource: resourceKey(resource), path: formatPath(path), ...place };
  }

  /** The full name that a reference in `from` stands for; undefined (and an issue) when there is no such resource. */
  resolve(from: Resource, kind: Kind, reference: string, path: IssuePath): ResourceName | undefined {
    const name = reference.includes("/") ? reference : `${from.metadata.namespace}/${reference}`;
    const key = `${kind} ${name}`;
    this.need(key);
    if (this.#byKey.has(key) || this.options.refused?.includes(key)) return name;
    const known = this.ofKind(kind).map((each) =>
      each.metadata.namespace === from.metadata.namespace ? each.metadata.name : fullName(each),
    );
    this.report(from, path, "dangling_reference", `There is no ${kind} ${name}.`, hintFor(reference, known));
    return undefined;
  }

  /** Bytes of a file that a resource names; undefined (and an issue) when it cannot be read. */
  readFile(resource: Resource, file: string, path: IssuePath, maxBytes: number): Uint8Array | undefined {
    try {
      const bytes = this.options.readFile(file, this.options.locate?.(resource, path)?.file ?? "");
      if (bytes.byteLength <= maxBytes) return bytes;
      this.report(resource, path, "out_of_range", `${file} is larger than ${formatSize(maxBytes)}.`);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      this.report(resource, path, "file_unreadable", `${file} cannot be read: ${why}.`);
    }
    return undefined;
  }

  /** Text of a `{file}` or `{inline}`. */
  readText(resource: Resource, source: FileOrInline, path: IssuePath): string | undefined {
    if (source.inline !== undefined) return source.inline;
    const bytes = this.readFile(resource, source.file ?? "", [...path, "file"], CONFIG_LIMITS.textBytes);
    return bytes === undefined ? undefined : new TextDecoder().decode(bytes);
  }
}

/** By name. A control plane keeps its resources in order, so that only what an apply brings is out of place. */
function sortNearlySorted(resources: readonly Resource[]): Resource[] {
  const inOrder: Resource[] = [];
  const astray: Resource[] = [];
  let last = "";
  for (const resource of resources) {
    const name = fullName(resource);
    if (name < last) {
      astray.push(resource);
    } else {
      inOrder.push(resource);
      last = name;
    }
  }
  if (astray.length === 0) return inOrder;
  astray.sort((a, b) => compareText(fullName(a), fullName(b)));
  const merged: Resource[] = [];
  let next = 0;
  for (const resource of inOrder) {
    for (; next < astray.length; next++) {
      const stray = astray[next];
      if (stray === undefined || fullName(stray) > fullName(resource)) break;
      merged.push(stray);
    }
    merged.push(resource);
  }
  return [...merged, ...astray.slice(next)];
}
