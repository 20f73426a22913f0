import type { Locate } from "../../config/compile.ts";
import type { ConfigIssue } from "../../config/issue.ts";
import type { IssuePath } from "../../config/parse.ts";
import type { Resource } from "../../config/schema/index.ts";
import { controlIssue } from "../model/issues.ts";
import type { ControlModel } from "../model/model.ts";
import type { Plan } from "../model/plan.ts";
import { keyOf, type ResourceKey } from "../model/resource.ts";
import { leadsWhereItMay } from "./destinations.ts";
import type { OwnersFile, PublisherRights } from "./file.ts";
import { referencesOf } from "./references.ts";

/**
 * Who may write what (security class 46). On a secured NATS server the last token of the subject is the publisher's name, which
 * it cannot choose; the operator of the control plane says, in a file that no publisher can reach, which namespaces, kinds and
 * hosts are each one's. Whoever is not in the file may write nothing.
 */
export class Owners {
  #rights: OwnersFile;

  constructor(rights: OwnersFile) {
    this.#rights = rights;
  }

  /** The file was read again. */
  replace(rights: OwnersFile): void {
    this.#rights = rights;
  }

  /** Whether the file names them. */
  knows(publisher: string): boolean {
    return this.#rights.has(publisher);
  }

  /** Why `publisher` may not do what `plan` says; empty: it may. What is there already and what would be there are both judged. */
  refuse(publisher: string, plan: Plan, model: ControlModel): ConfigIssue[] {
    const rights = this.#rights.get(publisher);
    if (rights === undefined) {
      const message =
        publisher === "" ? "The message does not say who published it." : `The publisher ${publisher} owns nothing.`;
      return [controlIssue("not_owned", message, "the operator of the control plane names publishers in the file of --owners")];
    }
    const issues: ConfigIssue[] = [];
    for (const key of plan.requested) {
      if (!ownsKey(rights, key)) issues.push(notOwned(publisher, key, "is not in a namespace or of a kind of theirs"));
    }
    if (issues.length > 0) return issues;
    for (const { key, before } of plan.changes) {
      const after = plan.parsed.get(key);
      if (before !== undefined && !this.#ownsHosts(publisher, model.resources.get(key)?.resource))
        issues.push(notOwned(publisher, key, "is there already and has hosts that are not theirs"));
      if (after !== undefined) issues.push(...this.#refuseContent(publisher, rights, key, after, plan.locate));
    }
    return issues;
  }

  /** Of the resources that have issues those that a publisher may write: what else is wrong with others is not for them to know. */
  writable(publisher: string, { partial, locate }: Plan): Plan["partial"] {
    const rights = this.#rights.get(publisher);
    if (rights === undefined) return [];
    return partial.filter(({ resource }) => {
      const key = keyOf(resource);
      return ownsKey(rights, key) && this.#refuseContent(publisher, rights, key, resource, locate).length === 0;
    });
  }

  /** Whether a publisher may read a resource. */
  mayRead(publisher: string, key: ResourceKey): boolean {
    const rights = this.#rights.get(publisher);
    return rights !== undefined && includes(rights.namespaces, namespaceOf(key));
  }

  #refuseContent(
    publisher: string,
    rights: PublisherRights,
    key: ResourceKey,
    resource: Resource,
    locate: Locate,
  ): readonly ConfigIssue[] {
    const issues: ConfigIssue[] = [];
    const refuse = (path: IssuePath, what: string): void => {
      const place = locate(resource, path) ?? { file: "", line: 0, column: 0 };
      issues.push({ ...notOwned(publisher, key, what), path: path.join("."), ...place });
    };
    for (const { host, path } of hostsOf(resource))
      if (!this.#ownsHost(publisher, host)) refuse(path, `has the host ${host}, which is not theirs`);
    for (const { reference, path } of referencesOf(resource)) {
      const slash = reference.indexOf("/");
      const namespace = slash < 0 ? resource.metadata.namespace : reference.slice(0, slash);
      if (!includes(rights.namespaces, namespace) && !includes(rights.uses, namespace))
        refuse(path, `refers to ${reference}, in a namespace that they may not use`);
    }
    if (resource.kind === "Filter") {
      for (const [i, subject] of resource.spec.capabilities.nats.publish.entries())
        if (!rights.publishes.some((pattern) => matchesSubject(pattern, subject)))
          refuse(["spec", "capabilities", "nats", "publish", i], `may publish to ${subject}, which is not theirs`);
    }
    if (resource.kind === "Service") {
      for (const { shown, path } of leadsWhereItMay(resource.spec, rights.endpoints))
        refuse(path, `leads to ${shown}, where they may not lead`);
    }
    return issues;
  }

  /** What this version cannot read has hosts that nobody knows. */
  #ownsHosts(publisher: string, resource: Resource | undefined): boolean {
    if (resource === undefined) return this.#ownsHost(publisher, "*");
    return hostsOf(resource).every(({ host }) => this.#ownsHost(publisher, host));
  }

  /**
   * The most specific pattern that anybody was given decides: who has `*.example.org` does not have what another has by name. `*` is
   * everything, without exception.
   */
  #ownsHost(publisher: string, host: string): boolean {
    if (this.#rights.get(publisher)?.hosts.includes("*") === true) return true;
    let best = -1;
    let owned = false;
    for (const [name, { hosts }] of this.#rights) {
      for (const pattern of hosts) {
        if (!covers(pattern, host)) continue;
        const length = pattern === host ? Number.MAX_SAFE_INTEGER : pattern.length;
        if (length < best) continue;
        if (length > best) owned = false;
        best = length;
        owned ||= name === publisher;
      }
    }
    return owned;
  }
}

const includes = (list: readonly string[], value: string): boolean => list.includes(value) || list.includes("*");

/** As NATS matches: `*` is one token, `>` one or more at the end. */
function matchesSubject(pattern: string, subject: string): boolean {
  const wanted = pattern.split(".");
  const tokens = subject.split(".");
  if (wanted.at(-1) === ">") {
    wanted.pop();
    if (tokens.length <= wanted.length) return false;
    tokens.length = wanted.length;
  }
  return tokens.length === wanted.length && wanted.every((token, i) => token === "*" || token === tokens[i]);
}

const namespaceOf = (key: ResourceKey): string => key.split("/")[1] ?? "";

function ownsKey(rights: PublisherRights, key: ResourceKey): boolean {
  return includes(rights.kinds, key.split("/")[0] ?? "") && includes(rights.namespaces, namespaceOf(key));
}

/** Every host that `host` (a name, `*.suffix` or `*`) stands for is one that `pattern` stands for. */
function covers(pattern: string, host: string): boolean {
  if (pattern === "*" || pattern === host) return true;
  return pattern.startsWith("*.") && host.endsWith(pattern.slice(1)) && host.length > pattern.length - 1;
}

function hostsOf(resource: Resource): { readonly host: string; readonly path: IssuePath }[] {
  if (resource.kind === "Route") return resource.spec.hosts.map((host, i) => ({ host, path: ["spec", "hosts", i] }));
  if (resource.kind !== "Gateway") return [];
  return resource.spec.listeners.flatMap(({ hosts }, i) => {
    const path = ["spec", "listeners", i, "hosts"];
    return hosts.length === 0 ? [{ host: "*", path }] : hosts.map((host, at) => ({ host, path: [...path, at] }));
  });
}

function notOwned(publisher: string, key: ResourceKey, what: string): ConfigIssue {
  const hint = "the operator of the control plane decides this, in the file of --owners";
  return controlIssue("not_owned", `${key} ${what} (publisher ${publisher}).`, hint, key);
}
