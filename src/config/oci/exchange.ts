import { Buffer } from "node:buffer";
import { lookup } from "node:dns/promises";
import { request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { isIP } from "node:net";
import { concatBytes } from "../../core/bytes.ts";
import { OCI_LIMITS } from "../../core/limits.ts";
import { formatSize } from "../schema/units.ts";
import { RegistryError } from "./failure.ts";

/** One request. */
export interface RegistryRequest {
  readonly method: "GET" | "HEAD" | "POST" | "PUT";
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  /** The most that a body of a 200 may have. Beyond: `artifact_too_large`. */
  readonly maxBytes: number;
}

export interface RegistryAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Of a redirect: not read. Of an error: at most `OCI_LIMITS.errorBytes` of it. */
  readonly body: Uint8Array;
}

export interface ExchangeTools {
  /** Authorities trusted besides none other; undefined: the system's. */
  readonly caPem: string | undefined;
  /** Throws when one of the addresses may not be reached. */
  readonly checkAddresses: (url: URL, addresses: readonly string[]) => void;
  readonly signal: AbortSignal;
}

/**
 * One HTTP exchange. Every address of the host is checked, and the connection goes to an address that was checked (no second
 * look-up to rebind). No redirects, a bounded size; the signal bounds the time. Rejects with a `RegistryError`.
 */
export async function exchange(request: RegistryRequest, tools: ExchangeTools): Promise<RegistryAnswer> {
  const { url } = request;
  const host = url.hostname.startsWith("[") ? url.hostname.slice(1, -1) : url.hostname;
  const addresses = await addressesOf(host);
  tools.checkAddresses(url, addresses);
  let failure: unknown;
  for (const address of addresses) {
    try {
      return await send(request, host, address, tools);
    } catch (error) {
      failure = error;
      if (!isRefusedConnection(error)) break;
    }
  }
  throw failure instanceof RegistryError ? failure : unreachable(url, failure);
}

async function addressesOf(host: string): Promise<readonly string[]> {
  if (isIP(host) !== 0) return [host];
  try {
    const found = await lookup(host, { all: true });
    if (found.length > 0) return found.map((each) => each.address);
  } catch {
    // Said below.
  }
  throw new RegistryError("registry_unreachable", `${host} has no address`);
}

/** Nothing was sent: another address may be tried. */
const isRefusedConnection = (error: unknown): boolean =>
  /ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|EADDRNOTAVAIL|ConnectionRefused|FailedToOpenSocket/.test(codeOf(error));

const codeOf = (error: unknown): string => String((error as { readonly code?: unknown }).code ?? "");

function unreachable(url: URL, error: unknown): RegistryError {
  const text = `${codeOf(error)} ${error instanceof Error ? error.message : ""}`;
  if (/cert|self.signed|altname|issuer|UNABLE_TO/i.test(text))
    return new RegistryError(
      "registry_unreachable",
      `the certificate of ${url.host} is not trusted`,
      "--registry-ca (SELVEDGE_REGISTRY_CA) names the authority that signed it",
    );
  if (/tls|ssl|handshake|EPROTO|wrong version/i.test(text))
    return new RegistryError(
      "registry_unreachable",
      `${url.host} does not speak TLS`,
      `--registries http://${url.host} allows plain HTTP`,
    );
  const why = isRefusedConnection(error) ? "takes no connection" : "ended the connection before its answer was whole";
  return new RegistryError("registry_unreachable", `${url.host} ${why}`);
}

function send(request: RegistryRequest, host: string, address: string, tools: ExchangeTools): Promise<RegistryAnswer> {
  const { url, method, body } = request;
  const secure = url.protocol === "https:";
  const options = {
    host: address,
    port: url.port === "" ? (secure ? 443 : 80) : Number(url.port),
    path: `${url.pathname}${url.search}`,
    method,
    agent: false as const,
    signal: tools.signal,
    headers: {
      ...request.headers,
      ...{ host: url.host, connection: "close", "accept-encoding": "identity", "user-agent": "selvedge" },
      ...(body === undefined && method !== "POST" ? {} : { "content-length": String(body?.byteLength ?? 0) }),
    },
    ...(secure
      ? {
          servername: isIP(host) === 0 ? host : "",
          rejectUnauthorized: true,
          ...(tools.caPem === undefined ? {} : { ca: tools.caPem }),
        }
      : {}),
  };
  return new Promise((resolve, reject) => {
    const outgoing = (secure ? httpsRequest : httpRequest)(options, (answer) => {
      read(answer, request).then(resolve, reject);
    });
    outgoing.on("error", reject);
    // A signal that fires after the answer's head does not reach the request on every runtime.
    const onAbort = (): void => {
      reject(new Error("aborted"));
      outgoing.destroy();
    };
    if (tools.signal.aborted) onAbort();
    else tools.signal.addEventListener("abort", onAbort, { once: true });
    if (body === undefined) outgoing.end();
    else outgoing.end(Buffer.from(body.buffer, body.byteOffset, body.byteLength));
  });
}

function read(answer: IncomingMessage, { method, url, maxBytes }: RegistryRequest): Promise<RegistryAnswer> {
  const status = answer.statusCode ?? 0;
  const isGood = status >= 200 && status < 300;
  const whole = (parts: readonly Uint8Array[]): RegistryAnswer => ({
    status,
    headers: answer.headers,
    body: parts.length === 0 ? new Uint8Array(0) : concatBytes(parts),
  });
  return new Promise((resolve, reject) => {
    const parts: Uint8Array[] = [];
    const most = isGood ? maxBytes : OCI_LIMITS.errorBytes;
    let size = 0;
    const give = (settle: () => void): void => {
      settle();
      answer.destroy();
    };
    answer.on("error", reject);
    answer.on("end", () => resolve(whole(parts)));
    // After an end this is nothing.
    answer.on("close", () => reject(new Error("closed")));
    if (status >= 300 && status < 400) return give(() => resolve(whole([])));
    if (isGood && method !== "HEAD" && Number(answer.headers["content-length"] ?? 0) > maxBytes)
      return give(() => reject(tooLarge(url, maxBytes)));
    answer.on("data", (part: Buffer) => {
      size += part.byteLength;
      if (size <= most) parts.push(new Uint8Array(part));
      else give(() => (isGood ? reject(tooLarge(url, maxBytes)) : resolve(whole(parts))));
    });
  });
}

const tooLarge = (url: URL, maxBytes: number): RegistryError =>
  new RegistryError(
    "artifact_too_large",
    `${url.host} sends more than ${maxBytes < 1024 ? `${maxBytes} bytes` : formatSize(maxBytes)}`,
  );
