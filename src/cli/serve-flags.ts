import type { FlagSpec } from "./command.ts";

/** Flags that commands which start servers share. Addresses are `host:port`; port 0 takes a free one. */

export const LOG_FLAGS: readonly FlagSpec[] = [
  {
    name: "log-level",
    type: "text",
    value: "<level>",
    default: "info",
    choices: ["debug", "info", "warn", "error"],
    help: "Least important lines to log, on standard error.",
  },
];

export const NATS_FLAGS: readonly FlagSpec[] = [
  { name: "nats-user", type: "text", value: "<name>", help: "User on the NATS server." },
  { name: "nats-password", type: "text", value: "<text>", help: "Password; better given in the environment." },
  { name: "nats-token", type: "text", value: "<token>", help: "Token of the NATS server; better given in the environment." },
  { name: "nats-credentials", type: "text", value: "<file>", help: "Credentials file (JWT and key)." },
  { name: "nats-ca", type: "text", value: "<file>", help: "PEM of the authority that signed the NATS server's certificate." },
];

export const ADMIN_FLAGS: readonly FlagSpec[] = [
  {
    name: "admin",
    type: "text",
    value: "<address>",
    default: "127.0.0.1:8081",
    help: "Admin address: /healthz, /readyz, /metrics, /status, /config_dump. `off` for none.",
  },
  { name: "admin-token", type: "text", value: "<token>", help: "Bearer token; needed unless the admin address is loopback." },
];

export const CONTROL_FLAGS: readonly FlagSpec[] = [
  { name: "listen", type: "text", value: "<address>", default: "127.0.0.1:8088", help: "Address of the control API." },
  { name: "token", type: "text", value: "<token>", help: "Bearer token; needed unless the control address is loopback." },
];

export const WORKERS_FLAG: FlagSpec = {
  name: "workers",
  type: "number",
  value: "<count>",
  min: 1,
  max: 256,
  defaultText: "one per core",
  help: "Worker processes that share the ports, in gateway mode.",
};

/** Flags of everything that takes modules from OCI registries. */
export const REGISTRY_FLAGS: readonly FlagSpec[] = [
  {
    name: "registries",
    type: "list",
    value: "<host>",
    defaultText: "all public ones over https, and this machine's",
    help: "OCI registries that modules may come from, and no others. Private addresses must be named; http://host:port allows plain HTTP.",
  },
  { name: "registry-ca", type: "text", value: "<file>", help: "PEM of the authority that signed the registries' certificates." },
  {
    name: "registry-auth",
    type: "text",
    value: "<file>",
    defaultText: "config.json in DOCKER_CONFIG or ~/.docker",
    help: "Docker's config.json with credentials of registries.",
  },
  {
    name: "registry-credentials",
    type: "text",
    value: "<registry=user:password>",
    help: "Credentials, several with blanks between; better given in the environment.",
  },
];
