import { CONFIG_LIMITS } from "../../core/limits.ts";
import { whyUnreadable } from "../../core/why-unreadable.ts";
import { Catalogue, fullName, keyOfResource } from "../catalogue.ts";
import type { IssueCode } from "../codes.ts";
import type { CompileOptions } from "../compile.ts";
import type { ConfigIssue } from "../issue.ts";
import { formatPath, type IssuePath, type Place } from "../parse.ts";
import type { PartialResource } from "../prune.ts";
import { Refused } from "../refused.ts";
import { type GatewayResource, type Kind, type Resource, resourceKey } from "../schema/index.ts";
import type { FileOrInline } from "../schema/tls.ts";
import { formatSize } from "../schema/units.ts";
import { REDACTED, REDACTED_OTHER } from "../secret-values.ts";
import type { ResourceName } from "../snapshot.ts";
import { hintFor } from "../suggest.ts";

export { fullName } from "../catalogue.ts";

/** Codes of issues that come from several fields together. */
const ABOUT_SEVERAL_FIELDS: ReadonlySet<IssueCode> = new Set<IssueCode>([
  ...(["conflicting_fields", "choose_one", "listener_conflict", "route_conflict", "filter_without_streams"] as const),
]);

/** Each comparison takes some 5 us: beyond, references get no hint. */
const COMPARED_MAX = 100_000;

/** The item of a list that a path leads to or through, or else the spec. */
function scopeOf(path: IssuePath): IssuePath {
  const at = path.findLastIndex((step) => typeof step === "number");
  return at < 0 ? path.slice(0, 1) : path.slice(0, at + 1);
}

/** Has it a listener for requests? */
export const servesHttp = (gateway: GatewayResource): boolean =>
  gateway.spec.listeners.some(({ protocol }) => protocol !== "TCP" && protocol !== "TLS");

/** What every part of the compiler needs: the resources by name, files, and a place to put issues. */
export class CompileContext {
  readonly issues: ConfigIssue[] = [];
  readonly warnings: ConfigIssue[] = [];
  readonly modules = new Map<string, Uint8Array>();
  readonly catalogue: Catalogue;
  readonly hasDuplicates: boolean;
  readonly refused: Refused;
  readonly #partial: ReadonlyMap<Resource, PartialResource>;
  #needs: string[] | undefined;
  /** Names that references which lead nowhere were compared with. */
  #compared = 0;
  /** What `has` found out. */
  readonly #met = new Map<string, boolean>();

  constructor(
    resources: Catalogue | readonly Resource[],
    readonly options: CompileOptions,
  ) {
    const { partial = [] } = options;
    this.refused = new Refused(options.refused);
    this.#partial = new Map(partial.map((each) => [each.resource, each]));
    const { catalogue, duplicates } =
      resources instanceof Catalogue
        ? { catalogue: resources.with([], this.#partial.keys()), duplicates: [] }
        : Catalogue.of([...resources, ...this.#partial.keys()]);
    this.catalogue = catalogue;
    this.hasDuplicates = duplicates.length > 0;
    for (const resource of duplicates) {
      const message = `There is another ${keyOfResource(resource)}.`;
      this.report(resource, ["metadata", "name"], "duplicate_resource", message, "rename or remove one");
    }
  }

  /** The resources of a kind, sorted by name. */
  ofKind<K extends Kind>(kind: K): readonly Extract<Resource, { kind: K }>[] {
    return this.catalogue.ofKind(kind);
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
    const [key = "", part] = need.split("#");
    const found = this.#find(key);
    if (found === undefined || part === undefined) return found !== undefined;
    if (found.kind === "Gateway") return servesHttp(found);
    return found.kind === "Service" && found.spec.subsets.some((each) => each.name === part);
  }

  /** By `Kind namespace/name`. */
  #find(key: string): Resource | undefined {
    const space = key.indexOf(" ");
    return this.catalogue.find(key.slice(0, space) as Kind, key.slice(space + 1));
  }

  /** `Kind namespace/name`, with `#subset` behind a service, or `#http` behind a gateway that must have a listener for requests. */
  need(need: string): void {
    this.#needs?.push(need);
  }

  find<K extends Kind>(kind: K, name: ResourceName): Extract<Resource, { kind: K }> | undefined {
    return this.catalogue.find(kind, name);
  }

  report(resource: Resource, path: IssuePath, code: IssueCode, message: string, hint = ""): void {
    if (this.#isTold(resource, path, code)) this.issues.push(this.#issue(resource, path, code, message, hint));
  }

  warn(resource: Resource, path: IssuePath, code: IssueCode, message: string, hint = ""): void {
    if (this.#isTold(resource, path, code)) this.warnings.push(this.#issue(resource, path, code, message, hint));
  }

  /** Nothing is told that may follow from what was taken out of a resource, whose own mistakes were told. */
  #isTold(resource: Resource, path: IssuePath, code: IssueCode): boolean {
    return this.isWhole(resource, path) && (!ABOUT_SEVERAL_FIELDS.has(code) || this.isWhole(resource, scopeOf(path)));
  }

  #issue(resource: Resource, path: IssuePath, code: IssueCode, message: string, hint: string): ConfigIssue {
    const written = this.#partial.get(resource)?.pathOf(path) ?? path;
    const place = this.#locate(resource, path) ?? { file: "", line: 0, column: 0 };
    return { code, message, hint, resource: this.nameOf(resource), path: formatPath(written), ...place };
  }

  #locate(resource: Resource, path: IssuePath): Place | undefined {
    const partial = this.#partial.get(resource);
    return partial === undefined ? this.options.locate?.(resource, path) : partial.locate(partial.pathOf(path));
  }

  get hasPartial(): boolean {
    return this.#partial.size > 0;
  }

  /** Is this only what is sound of a resource? */
  isPartial(resource: Resource): boolean {
    return this.#partial.has(resource);
  }

  /** Is nothing missing there, because it was not sound? */
  isWhole(resource: Resource, path: IssuePath): boolean {
    const partial = this.#partial.get(resource);
    return partial === undefined || partial.isWhole(partial.pathOf(path));
  }

  /** Is there something in a mapping that is no field? It may have been meant to be one. */
  hasUnknownKey(resource: Resource, path: IssuePath): boolean {
    const partial = this.#partial.get(resource);
    return partial?.hasUnknownKey(partial.pathOf(path)) === true;
  }

  /** Position of an item of a list as it was written. */
  positionOf(resource: Resource, path: IssuePath): number {
    return Number((this.#partial.get(resource)?.pathOf(path) ?? path).at(-1));
  }

  /** `Route default/shop`, as it was written. */
  nameOf(resource: Resource): string {
    return this.#partial.get(resource)?.name ?? resourceKey(resource);
  }

  /** Is it part of what is applied? Then an issue about it has a place. */
  isApplied(resource: Resource): boolean {
    return this.options.storedAt?.(resource) === undefined;
  }

  /** Does the apply bring it? False when nothing is applied: what is stored is compiled again. */
  isBrought(resource: Resource): boolean {
    return this.options.storedAt !== undefined && this.isApplied(resource);
  }

  /** `, which is stored (revision 12)`, of a resource that is not part of what is applied. */
  whereStored(resource: Resource | undefined): string {
    const revision = resource === undefined ? undefined : this.options.storedAt?.(resource);
    return revision === undefined ? "" : `, which is stored (revision ${revision}),`;
  }

  /** The full name that a reference in `from` stands for; undefined (and an issue) when there is no such resource. */
  resolve(from: Resource, kind: Kind, reference: string, path: IssuePath): ResourceName | undefined {
    const name = reference.includes("/") ? reference : `${from.metadata.namespace}/${reference}`;
    const key = `${kind} ${name}`;
    this.need(key);
    if (this.has([key]) || this.refused.mayBe(kind, name)) return name;
    // Which namespace is meant is not known.
    if (!reference.includes("/") && !this.isWhole(from, ["metadata", "namespace"])) return name;
    this.report(from, path, "dangling_reference", `There is no ${kind} ${name}.`, this.#hintOf(from, kind, reference));
    return undefined;
  }

  #hintOf(from: Resource, kind: Kind, reference: string): string {
    const all = this.ofKind(kind);
    this.#compared += all.length;
    if (this.#compared > COMPARED_MAX) return this.hintOfStored;
    const known = all.map((each) => (each.metadata.namespace === from.metadata.namespace ? each.metadata.name : fullName(each)));
    return [hintFor(reference, known), this.hintOfStored].filter((hint) => hint !== "").join("; ");
  }

  /** Of a check of files: what is missing may well be in the mesh, and who knows; "" where all that there is was looked at. */
  get hintOfStored(): string {
    return this.options.alone === "files"
      ? "only these files were looked at: `selvedge diff -f` asks the control plane, which has all that is stored"
      : "";
  }

  /** Bytes of a file that a resource names; undefined (and an issue) when it cannot be read. */
  readFile(resource: Resource, file: string, path: IssuePath, maxBytes: number): Uint8Array | undefined {
    try {
      const bytes = this.options.readFile(file, this.#locate(resource, path)?.file ?? "");
      if (bytes.byteLength <= maxBytes) return bytes;
      this.report(resource, path, "out_of_range", `${file} is larger than ${formatSize(maxBytes)}.`);
    } catch (error) {
      this.report(resource, path, "file_unreadable", `${file} cannot be read: ${whyUnreadable(error)}.`, hintOfError(error));
    }
    return undefined;
  }

  /** What is shown in a secret's place must not become the secret: reported. */
  isRedacted(resource: Resource, value: unknown, path: IssuePath): boolean {
    if (value !== REDACTED && value !== REDACTED_OTHER) return false;
    const message = "A secret that was redacted when it was shown stands here.";
    this.report(resource, path, "redacted_secret", message, "`selvedge get … --show-secrets` shows what is there");
    return true;
  }

  /** Text of a `{file}` or `{inline}`. */
  readText(resource: Resource, source: FileOrInline, path: IssuePath): string | undefined {
    if (source.inline !== undefined)
      return this.isRedacted(resource, source.inline, [...path, "inline"]) ? undefined : source.inline;
    const bytes = this.readFile(resource, source.file ?? "", [...path, "file"], CONFIG_LIMITS.textBytes);
    return bytes === undefined ? undefined : new TextDecoder().decode(bytes);
  }
}

/** Who reads the files may say what to do instead. */
const hintOfError = (error: unknown): string =>
  error instanceof Error && "hint" in error && typeof error.hint === "string" ? error.hint : "";
