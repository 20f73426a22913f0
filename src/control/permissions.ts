import {
  askSubject,
  inboxPrefix,
  isSubjectToken,
  logsSubject,
  manifestGetSubject,
  NATS_NAMES,
  OBJECT_GET_SUBJECT,
  snapshotSubject,
  statusSubject,
} from "../config/nats/names.ts";

interface Login {
  /** Plain or, better, a bcrypt hash (`nats server passwd`). */
  readonly password: string;
}

export interface PermissionOptions {
  /** User of the control planes: may do everything in the account. */
  readonly control: Login & { readonly user: string };
  /** One for each proxy; the user is the proxy's id. */
  readonly proxies: readonly (Login & { readonly id: string; readonly group?: string })[];
  /** People and pipelines that may change configuration; each under its own name only. */
  readonly publishers: readonly (Login & {
    readonly user: string /** May also read all resources. */;
    readonly read?: boolean;
  })[];
  /**
   * What filters of all proxies may publish: subjects, with wildcards behind the first token. Whoever may write Filter
   * resources chooses among them. Default: nothing.
   */
  readonly filterSubjects?: readonly string[];
  /** Name of the account. Default `SELVEDGE`. */
  readonly account?: string;
}

interface Permissions {
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
}

/** What a proxy may do: hear its own group and what it is asked, read objects (sealed, but for modules), say how it is and what its filters say. No streams, no consumers. */
export function proxyPermissions(id: string, group = "gateway", filterSubjects: readonly string[] = []): Permissions {
  return {
    publish: [
      statusSubject(id),
      logsSubject(id),
      manifestGetSubject(group),
      OBJECT_GET_SUBJECT,
      `${OBJECT_GET_SUBJECT}.$O.${NATS_NAMES.objectBucket}.M.*`,
      ...filterSubjects,
    ],
    subscribe: [snapshotSubject(group), NATS_NAMES.poll, askSubject(id), `${inboxPrefix(id)}.>`],
  };
}

/** A publisher's messages carry its name as last token of the subject, which it cannot choose. Large texts go over the HTTP API. */
export function publisherPermissions(user: string, read = false): Permissions {
  const subjects = [NATS_NAMES.apply, NATS_NAMES.delete, ...(read ? [NATS_NAMES.get] : [])];
  return { publish: subjects.map((subject) => `${subject}.${user}`), subscribe: [`${inboxPrefix(user)}.>`] };
}

/**
 * Each proxy is in an account of its own, which imports what `proxyPermissions` allow. Within one account that would not be
 * enough: a server answers a direct get to whatever subject the question names as its reply, with its own rights and not with
 * the asker's, so that any proxy could delete streams, publish as another user or write to others (tried: an empty answer to
 * `$JS.API.STREAM.DELETE.…` deletes). Between accounts the answer can only go back to where the question came from.
 */
const SERVICE_EXPORTS = [
  statusSubject("*"),
  logsSubject("*"),
  manifestGetSubject("*"),
  OBJECT_GET_SUBJECT,
  `${OBJECT_GET_SUBJECT}.$O.${NATS_NAMES.objectBucket}.M.*`,
];
const STREAM_EXPORTS = [snapshotSubject("*"), NATS_NAMES.poll, askSubject("*")];

/**
 * The `accounts` block of a nats-server configuration. Throws an `Error` when a name cannot be one token of a subject, or two
 * users have the same name: a dot or a wildcard in a name would give it the rights of others.
 */
export function natsPermissions(options: PermissionOptions): string {
  const account = options.account ?? "SELVEDGE";
  const { filterSubjects = [] } = options;
  for (const subject of filterSubjects) checkFilterSubject(subject);
  if (!isSubjectToken(account)) throw new Error(`account ${JSON.stringify(account)}: only letters, digits, - and _`);
  const users: string[] = [];
  const proxyAccounts: string[] = [];
  const seen = new Set<string>();
  const render = (user: string, password: string, permissions: Permissions | undefined): string => {
    if (!isSubjectToken(user)) throw new Error(`user ${JSON.stringify(user)}: only letters, digits, - and _`);
    if (seen.has(user)) throw new Error(`user ${user} is there twice`);
    if (password === "") throw new Error(`user ${user} has no password`);
    seen.add(user);
    return renderUser(user, password, permissions);
  };
  users.push(render(options.control.user, options.control.password, undefined));
  for (const { id, group, password } of options.proxies) {
    if (group !== undefined && !isSubjectToken(group))
      throw new Error(`group ${JSON.stringify(group)}: only letters, digits, - and _`);
    const permissions = proxyPermissions(id, group, filterSubjects);
    const user = render(id, password, permissions);
    proxyAccounts.push(renderProxyAccount(account, id, user, permissions));
  }
  for (const { user, password, read } of options.publishers) users.push(render(user, password, publisherPermissions(user, read)));
  const exported = [
    ...[...SERVICE_EXPORTS, ...filterSubjects].map((subject) => `      { service: ${quote(subject)} }`),
    ...STREAM_EXPORTS.map((subject) => `      { stream: ${quote(subject)} }`),
  ];
  const own = `    jetstream: enabled\n    users: [\n${users.join("\n")}\n    ]\n    exports: [\n${exported.join("\n")}\n    ]\n`;
  return `accounts {\n  ${account} {\n${own}  }\n${proxyAccounts.join("")}}\n`;
}

/** Those of the configuration, of the server and of answers would make filters publishers or administrators. */
function checkFilterSubject(subject: string): void {
  const tokens = subject.split(".");
  const isWhole = tokens.every(
    (token, i) => /^[^\s*>]+$/.test(token) || (i > 0 && (token === "*" || (token === ">" && i === tokens.length - 1))),
  );
  const [first = ""] = tokens;
  if (!isWhole || /^[$_]/.test(first) || first.toLowerCase() === "selvedge")
    throw new Error(
      `subject ${JSON.stringify(subject)}: tokens and dots, the first one no wildcard and none of NATS or Selvedge`,
    );
}

function renderProxyAccount(account: string, id: string, user: string, { publish, subscribe }: Permissions): string {
  const from = (subject: string): string => `{ account: ${quote(account)}, subject: ${quote(subject)} }`;
  const imported = [
    ...publish.map((subject) => `      { service: ${from(subject)} }`),
    ...subscribe.filter((subject) => !subject.startsWith("_INBOX")).map((subject) => `      { stream: ${from(subject)} }`),
  ];
  return `  ${account}_PROXY_${id} {\n    users: [\n${user}\n    ]\n    imports: [\n${imported.join("\n")}\n    ]\n  }\n`;
}

function renderUser(user: string, password: string, permissions: Permissions | undefined): string {
  const login = `user: ${quote(user)}, password: ${quote(password)}`;
  if (permissions === undefined) return `      { ${login} }`;
  const list = (subjects: readonly string[]): string => `[${subjects.map(quote).join(", ")}]`;
  const { publish, subscribe } = permissions;
  return `      { ${login}, permissions: { publish: { allow: ${list(publish)} }, subscribe: { allow: ${list(subscribe)} } } }`;
}

/** As JSON; the server reads the same escapes, and a `$` between quotes is no variable. */
function quote(text: string): string {
  return JSON.stringify(text);
}
