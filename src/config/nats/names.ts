/** Subjects, streams and buckets (docs/ARCHITECTURE.md has the table). Shared by control plane, proxies and permissions. */
export const NATS_NAMES = {
  apply: "selvedge.config.apply",
  delete: "selvedge.config.delete",
  get: "selvedge.config.get",
  /** Control planes tell each other which stored message they have processed. */
  processed: "selvedge.control.processed",
  /** A control plane that has just started asks all proxies to say how they are. */
  poll: "selvedge.proxy.poll",
  /** Subject of the log of applies. */
  log: "selvedge.log",
  logStream: "SELVEDGE_LOG",
  inboxStream: "SELVEDGE_INBOX",
  inboxConsumer: "control",
  configBucket: "selvedge_config",
  snapshotBucket: "selvedge_snapshots",
  objectBucket: "selvedge_objects",
} as const;

/** Where the manifests of a group are published again. */
export const snapshotSubject = (group: string): string => `selvedge.snapshot.${group}`;
export const statusSubject = (proxyId: string): string => `selvedge.proxy.${proxyId}.status`;
/** A control plane asks one proxy for log lines of a filter (`LogQuestion`); others hear nothing. */
export const askSubject = (proxyId: string): string => `selvedge.proxy.${proxyId}.ask`;
/** Where that proxy, and no other, answers: not to a reply subject, which whoever asks could choose. */
export const logsSubject = (proxyId: string): string => `selvedge.proxy.${proxyId}.logs`;

/** Answers the newest manifest of a group, to whoever may publish to exactly this subject. */
export const manifestGetSubject = (group: string): string =>
  `$JS.API.DIRECT.GET.KV_${NATS_NAMES.snapshotBucket}.$KV.${NATS_NAMES.snapshotBucket}.${group}`;
/** Reads objects; they are sealed or public, so that reading all of them tells nothing. */
export const OBJECT_GET_SUBJECT = `$JS.API.DIRECT.GET.OBJ_${NATS_NAMES.objectBucket}`;

/** Own inbox of a connection: with the shared `_INBOX` one proxy could read another's answers. */
export const inboxPrefix = (id: string): string => `_INBOX_${id}`;

/**
 * Whether an answer may go there. Who asks names the subject, and who answers has more rights: an answer published to a subject of
 * JetStream's API, or of another user, would be an order given in the answerer's name.
 */
export const isInbox = (reply: string): boolean => /^_INBOX(_[A-Za-z0-9_-]+)?\./.test(reply);

const TOKEN = /^[A-Za-z0-9_-]{1,128}$/;
/** Whether a name can be one token of a subject: no dots, no wildcards, no spaces. */
export const isSubjectToken = (name: string): boolean => TOKEN.test(name);
