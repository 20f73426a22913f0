/**
 * Every code that an issue may carry, with its meaning for the documentation. Codes are part of the public contract:
 * scripts, editors and dashboards key on them.
 */
export const ISSUE_CODES = {
  // The text itself.
  document_too_large: "The text is larger than one apply may be.",
  yaml_syntax: "The text is not valid YAML or JSON.",
  yaml_unsupported: "YAML that configuration does not use: tags, merge keys, keys that are not plain text.",
  duplicate_key: "A mapping has the same key twice.",
  too_deep: "Values are nested deeper than allowed.",
  too_many_aliases: "YAML aliases expand to more than allowed.",
  too_many_resources: "One apply has more resources than allowed.",
  too_many_issues: "More issues were found than are listed; fix these first.",
  // biome-ignore lint/suspicious/noTemplateCurlyInString: what users write
  missing_variable: "`${NAME}` names an environment variable that is not set and has no default.",
  // biome-ignore lint/suspicious/noTemplateCurlyInString: what users write
  bad_variable: "A `${…}` that is not a variable reference; write `$${` for a literal one.",
  // The envelope.
  not_a_resource: "A document is not a mapping with apiVersion, kind, metadata and spec.",
  unknown_api_version: "The apiVersion is not one that this version reads.",
  unsupported_dialect: "The resource belongs to a known dialect that this version does not translate.",
  unknown_kind: "There is no such kind.",
  // Fields.
  missing_field: "A required field is missing.",
  unknown_key: "There is no such field.",
  wrong_type: "The value has the wrong type.",
  unknown_value: "The value is not one of those allowed.",
  out_of_range: "A number, a length or a count is outside its bounds.",
  choose_one: "Exactly one of several fields must be given.",
  conflicting_fields: "Fields that exclude each other, or one that needs another.",
  bad_name: "A name breaks the rules for names.",
  bad_label: "A label or annotation breaks the rules for them.",
  bad_duration: "Not a duration like `250ms`, `15s`, `1m30s`, `1h`.",
  bad_size: "Not a size like `512`, `64KiB`, `1MB`.",
  bad_host: "Not a host name, or a wildcard in a place where none may be.",
  bad_address: "Not an address: `127.0.0.1:80`, `[::1]:80`, `name:80` or `unix:/path`.",
  bad_cidr: "Not an IP address or CIDR block.",
  bad_path: "Not a path in normal form.",
  bad_template: "Not a path template.",
  bad_regex: "Not a regular expression of RE2 syntax, or too long or too large.",
  bad_header: "Not a legal header name or value, or a header that may not be edited.",
  bad_url: "Not a URL that may be used here.",
  bad_algorithm: "A signature algorithm that is unknown, or does not fit the keys.",
  // What belongs together.
  duplicate_resource: "Two resources of one kind, namespace and name in one apply.",
  duplicate_name: "Two parts of one resource have the same name.",
  dangling_reference: "The thing that is referred to does not exist.",
  mesh_conflict: "There is more than one Mesh.",
  listener_conflict: "Two listeners cannot share an address.",
  route_conflict: "Two rules have the identical match on the same host and gateway, or two routes serve the same streams.",
  listener_without_route: "No route serves this TCP or TLS listener: what connects is closed. A warning.",
  filter_without_streams:
    "The filter of a TCP route can do nothing there: it is no proxy-wasm module, or has no callback for streams.",
  // What is referred to outside.
  file_unreadable: "A file cannot be read.",
  no_resources:
    "The files of a proxy that serves hold no resource any more, as when one is being written. What served before stays.",
  bad_certificate: "Not a PEM certificate.",
  bad_key: "Not a PEM private key.",
  certificate_mismatch: "The private key does not belong to the certificate.",
  certificate_expired: "The certificate is not valid at this time. A warning: it is served as it is.",
  bad_jwks: "Not a JSON Web Key Set with usable public keys.",
  unknown_module: "There is no such filter module.",
  module_lost:
    "A stored Filter names a module that is not stored any more. A warning: proxies that have the module go on with it, others refuse what names it.",
  bad_module: "Not a WebAssembly module, or one that is too large.",
  unsigned_module: "The mesh wants signed filter modules, and no trusted key has signed exactly these bytes.",
  bad_artifact_reference: "Not a reference to an artifact in an OCI registry: `registry/repository:tag` or `…@sha256:hex`.",
  artifact_not_found: "The registry has no such repository, tag or digest.",
  artifact_altered: "What the registry sent does not have the digest or the length that it must have.",
  artifact_too_large: "What the registry has is larger than it may be.",
  bad_artifact: "What the registry has is no filter module in a form that is read here.",
  registry_unauthorized: "The registry wants other credentials, or these may not do that.",
  registry_not_allowed: "A registry, or a place to which it leads, that may not be asked.",
  registry_busy: "Other applies hold as many modules from registries as may be held at a time. Apply again in a moment.",
  registry_quota: "Pulls of this publisher, or of all, have held up the applies over NATS for as long as they may.",
  registry_unreachable: "The registry did not answer: no connection, TLS, time, or an error of its own.",
  capability_not_granted:
    "The module's metadata declares that it needs something that its Filter resource does not grant. A warning: it is loaded all the same.",
  signature_not_required:
    "Keys are trusted, but modules without a signature run all the same. A warning: it is fine while modules are being signed.",
  bad_pattern: "Not a name or prefix that a filter may be granted.",
  bad_subject: "Not a NATS subject that a filter may publish to.",
  redacted_secret: "A secret that was redacted when it was shown stands where the secret belongs.",
  bad_settings: "The filter does not accept its settings.",
  trial_failed:
    "The process in which a control plane tries filters ended before it had an answer: nobody knows whether this one is good, so it is refused.",
  snapshot_missing:
    "A proxy cannot fetch what the configuration names, a module or a part of it, or it is not what it should be. What served before goes on; the proxy asks again, and serves it once it is there.",
  internal: "Reading failed for a reason that is a bug. The old configuration stays.",
} as const;

export type IssueCode = keyof typeof ISSUE_CODES;
