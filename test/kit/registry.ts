/** An OCI registry of a few lines, over real sockets, that can also misbehave. The real one: test/long/registry.test.ts. */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { gzipSync, zstdCompressSync } from "node:zlib";

export const digestOf = (bytes: Uint8Array | string): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

export type Misbehave = (request: IncomingMessage, response: ServerResponse) => void;

export interface AskedRegistry {
  readonly method: string;
  readonly path: string;
  readonly authorization: string | undefined;
}

export interface TestRegistry {
  /** `127.0.0.1:port`. */
  readonly host: string;
  readonly asked: AskedRegistry[];
  readonly blobs: Map<string, Uint8Array>;
  /** By `repository:tag` and `repository@digest`. */
  readonly manifests: Map<string, { readonly type: string; readonly bytes: Uint8Array }>;
  /** Answers instead of the registry, by the whole path. */
  readonly instead: Map<string, Misbehave>;
  /** `Authorization` that it wants, and how it says so; undefined: nobody is asked. */
  guard: { readonly wanted: string; readonly challenge: string } | undefined;
  /** Keeps bytes as a blob. */
  addBlob(bytes: Uint8Array): { readonly digest: string; readonly size: number };
  /** Puts a manifest under a tag and its digest; resolves with the digest. */
  tag(name: string, manifest: object, type?: string): string;
  stop(): Promise<void>;
}

const OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json";

export async function startRegistry(tls?: { readonly certificatePem: string; readonly keyPem: string }): Promise<TestRegistry> {
  const registry: Omit<TestRegistry, "host" | "stop"> = {
    ...{ asked: [], blobs: new Map(), manifests: new Map(), instead: new Map(), guard: undefined },
    addBlob(bytes) {
      const digest = digestOf(bytes);
      registry.blobs.set(digest, bytes);
      return { digest, size: bytes.byteLength };
    },
    tag(name, manifest, type = OCI_MANIFEST) {
      const bytes = Buffer.from(JSON.stringify(manifest));
      const digest = digestOf(bytes);
      const repository = name.slice(0, name.lastIndexOf(":"));
      for (const key of [name, `${repository}@${digest}`]) registry.manifests.set(key, { type, bytes });
      return digest;
    },
  };
  const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
    const path = request.url ?? "";
    registry.asked.push({ method: request.method ?? "", path, authorization: request.headers.authorization });
    const instead = registry.instead.get(path);
    if (instead !== undefined) {
      instead(request, response);
      return;
    }
    const { guard } = registry;
    const isWelcome = guard === undefined || request.headers.authorization === guard.wanted;
    if (isWelcome) void serve(registry, request, response, path);
    else response.writeHead(401, { "www-authenticate": guard.challenge }).end();
  };
  const server: Server =
    tls === undefined ? createServer(onRequest) : createTlsServer({ cert: tls.certificatePem, key: tls.keyPem }, onRequest);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const stop = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return Object.assign(registry, { host, stop });
}

async function serve(
  registry: Omit<TestRegistry, "host" | "stop">,
  request: IncomingMessage,
  response: ServerResponse,
  path: string,
): Promise<void> {
  const body = await bodyOf(request);
  const url = new URL(path, "http://registry");
  const [, repository = "", kind = "", last = ""] = /^\/v2\/(.+)\/(manifests|blobs)\/(.*)$/.exec(url.pathname) ?? [];
  const answer = (status: number, headers: Record<string, string> = {}, bytes?: Uint8Array): void => {
    response.writeHead(status, { ...headers, ...(bytes === undefined ? {} : { "content-length": bytes.byteLength }) });
    response.end(request.method === "HEAD" ? undefined : bytes);
  };
  if (kind === "manifests" && request.method === "PUT") {
    const type = request.headers["content-type"] ?? "";
    for (const key of [`${repository}:${last}`, `${repository}@${digestOf(body)}`])
      registry.manifests.set(key, { type, bytes: body });
    return answer(201);
  }
  if (kind === "manifests") {
    const found = registry.manifests.get(last.startsWith("sha256:") ? `${repository}@${last}` : `${repository}:${last}`);
    if (found === undefined) return answer(404);
    return answer(200, { "content-type": found.type, "docker-content-digest": digestOf(found.bytes) }, found.bytes);
  }
  if (last === "uploads/" && request.method === "POST")
    return answer(202, { location: `/v2/${repository}/blobs/uploads/one?state=a%2Fb` });
  if (request.method === "PUT") {
    const isGood = url.searchParams.get("digest") === digestOf(body) && url.searchParams.get("state") === "a/b";
    if (isGood) registry.blobs.set(digestOf(body), body);
    return answer(isGood ? 201 : 400);
  }
  const blob = registry.blobs.get(last);
  answer(blob === undefined ? 404 : 200, {}, blob);
}

async function bodyOf(request: IncomingMessage): Promise<Uint8Array> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return new Uint8Array(Buffer.concat(parts));
}

/** A manifest of these layers. */
export const manifestOf = (
  ...layers: { readonly mediaType: string; readonly digest: string; readonly size: number }[]
): object => ({
  schemaVersion: 2,
  mediaType: OCI_MANIFEST,
  config: { mediaType: "application/vnd.wasm.config.v0+json", digest: digestOf("{}"), size: 2 },
  layers,
});

/** A tar archive (ustar), as `docker build` puts it into a layer. */
export function tarOf(files: Readonly<Record<string, Uint8Array>>): Uint8Array {
  const parts = Object.entries(files).flatMap(([name, content]) => [
    tarHead(name, content.byteLength),
    content,
    new Uint8Array((512 - (content.byteLength % 512)) % 512),
  ]);
  return new Uint8Array(Buffer.concat([...parts, new Uint8Array(1024)]));
}

/** The head of one entry. */
export function tarHead(name: string, size: number, type = "0"): Uint8Array {
  const head = Buffer.alloc(512);
  head.write(name, 0);
  head.write("0000644\x000000000\x000000000\x00", 100);
  head.write(`${size.toString(8).padStart(11, "0")}\0`, 124);
  head.write(`00000000000\0        ${type}`, 136);
  head.write("ustar\x0000", 257);
  const sum = head.reduce((total, byte) => total + byte, 0);
  head.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return new Uint8Array(head);
}

export const gzipOf = (bytes: Uint8Array): Uint8Array => new Uint8Array(gzipSync(bytes));

export const zstdOf = (bytes: Uint8Array): Uint8Array => new Uint8Array(zstdCompressSync(bytes));
