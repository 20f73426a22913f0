import assert from "node:assert/strict";
import type { ClientTls, Net, ServerCertificate, ServerTls, Socket } from "../../src/runtime/net.ts";
import { type IssueOptions, testAuthority } from "../kit/certs.ts";
import { type Accepting, bytesOf, dial, type End, serverTls } from "./net-kit.ts";

export const ca = await testAuthority();
export const otherCa = await testAuthority("Other CA");

export async function certificate(
  hosts: readonly string[],
  options: IssueOptions = {},
  authority = ca,
): Promise<ServerCertificate> {
  const made = await authority.issue({ dns: hosts.filter((host) => host !== "*"), ...options });
  return { hosts, certificatePem: made.certificatePem, keyPem: made.keyPem };
}

export const shop = await certificate(["shop.test"]);
export const wild = await certificate(["*.wild.test"]);
export const fallback = await certificate(["*"], { dns: ["default.test"] });
export const renewed = await certificate(["shop.test"], { commonName: "renewed", dns: ["shop.test"] });
export const workload = await ca.issue({ uri: ["spiffe://mesh.test/ns/shop/sa/cart"], dns: ["cart.test"], commonName: "cart" });
export const stranger = await otherCa.issue({ uri: ["spiffe://mesh.test/ns/shop/sa/cart"] });

export const clientTls = (over: Partial<ClientTls> = {}): ClientTls => ({
  serverName: "shop.test",
  caPem: ca.certificatePem,
  verify: true,
  certificatePem: undefined,
  keyPem: undefined,
  alpn: [],
  minVersion: "TLSv1.2",
  ...over,
});

export const asWorkload = clientTls({ certificatePem: workload.certificatePem, keyPem: workload.keyPem });
export const asStranger = clientTls({ certificatePem: stranger.certificatePem, keyPem: stranger.keyPem });
export const asNobody = clientTls();

/** Connects and waits until it is open or closed. */
export async function dialTls(subject: { readonly net: Net }, accepting: Accepting, tls: ClientTls): Promise<End> {
  const near = dial(subject.net, accepting.address, { tls });
  await near.until(() => near.heard.length > 0);
  return near;
}

/** The DNS names of the certificate that the peer showed. */
export const shown = (end: End): readonly string[] => end.open().tls?.peer?.dnsNames ?? [];

export const echo = { prepare: (end: End) => (end.onBytes = (socket: Socket, bytes: Uint8Array) => void socket.write(bytes)) };

export async function expectEcho(end: End, text: string): Promise<void> {
  const before = end.text();
  end.open().write(bytesOf(text));
  await end.untilText(before + text);
}

/** Sends after the handshake and waits for what a server that refused us does: with TLS 1.3 it can only say so then. */
export async function expectRefused(end: End): Promise<void> {
  if (end.heard.includes("open")) end.open().write(bytesOf("let me in"));
  await end.until(() => end.heard.includes("end") || end.heard.includes("close"));
  assert.equal(end.text(), "", "a refused connection got an answer");
  end.open().destroy();
}

export const settings = (over: Partial<ServerTls> = {}): ServerTls =>
  serverTls({ certificates: [shop, wild, fallback], ...over });
