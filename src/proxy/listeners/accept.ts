import type { ListenerConfig } from "../../config/snapshot.ts";
import { type Bytes, concatBytes, copyBytes } from "../../core/bytes.ts";
import type { CidrSet } from "../../core/cidr.ts";
import type { Bug } from "../../core/containment.ts";
import { Deadline } from "../../core/deadline.ts";
import { Failure } from "../../core/failure.ts";
import { isAddress } from "../../core/ip.ts";
import { PLAIN_LINGER_MS } from "../../core/limits.ts";
import { beginsPlainHttp, type Listener, type Socket, type SocketHandler } from "../../runtime/net.ts";
import type { ProxyCore } from "../core.ts";
import { type ProxyPeer, readProxyHeader } from "./proxy-header.ts";

/**
 * Seam 2: what happens between accept and HTTP (or a stream of bytes) on a listener that reads a PROXY header: header, then TLS, then the
 * connection. Untrusted peers are refused before a byte is read.
 */
export class AcceptPipeline implements SocketHandler {
  #bytes: Bytes | undefined;
  #over = false;
  /** What comes now is TLS. */
  #headerRead = false;
  #source: ProxyPeer | undefined;
  /** It was answered that it is no TLS; it ends as that, however it ends. */
  #refused: Failure | undefined;
  readonly #deadline = new Deadline(() => this.#fail(new Failure("request_timeout", "PROXY header or TLS handshake")), this);

  constructor(
    readonly core: ProxyCore,
    readonly config: ListenerConfig,
    readonly socket: Socket,
    readonly listener: Listener | undefined,
    trusted: CidrSet,
    readonly onReady: (socket: Socket, source: ProxyPeer | undefined) => SocketHandler,
    /** What to answer to HTTP in plain text where TLS was to begin; undefined: nothing. */
    readonly answerPlain: (source: ProxyPeer | undefined) => Bytes | undefined,
    readonly onFailure: (failure: Failure) => void,
  ) {
    core.deadlines.arm(this.#deadline, config.times.handshakeMs);
    // Unix sockets have no address: whoever may open the path is trusted by its permissions.
    if (socket.remoteAddress !== "" && !trusted.contains(socket.remoteAddress)) {
      queueMicrotask(() => core.turn.run(this, () => this.#fail(new Failure("bad_proxy_header", "peer is not trusted"))));
    }
  }

  onOpen(socket: Socket): void {
    this.#hand(socket, undefined);
  }

  onData(socket: Socket, bytes: Bytes): void {
    if (this.#over || this.#refused !== undefined) return;
    if (this.#headerRead) {
      this.#startTls(socket, copyBytes(bytes));
      return;
    }
    const all = this.#bytes === undefined ? bytes : concatBytes([this.#bytes, bytes]);
    const header = readProxyHeader(all);
    if (header === "need-more") {
      this.#bytes = copyBytes(all);
      return;
    }
    if (header instanceof Failure) {
      this.#fail(header);
      return;
    }
    if (header === "absent") {
      if (this.config.proxyProtocol?.required === true) this.#fail(new Failure("bad_proxy_header", "missing"));
      else this.#continue(socket, copyBytes(all));
      return;
    }
    // The path of a Unix socket is any bytes: as an address it would end up in headers that only addresses may stand in.
    this.#source = header.source === undefined || isAddress(header.source.address) ? header.source : { address: "", port: 0 };
    this.#continue(socket, copyBytes(all.subarray(header.consumed)));
  }

  onEnd(): void {
    this.#fail(new Failure("downstream_reset", "closed before the PROXY header"));
  }
  onDrain(): void {}
  onClose(): void {
    this.#end(new Failure("downstream_reset", "closed before the PROXY header"));
  }

  /** `socket`: with TLS, the one above that of the header. */
  onThrown(socket: Socket, error: unknown): void {
    this.core.turn.thrown(error, { abandon: (bug) => this.#abandon(bug, socket) });
  }

  abandon(bug: Bug): void {
    this.#abandon(bug, this.socket);
  }

  #abandon(bug: Bug, socket: Socket): void {
    bug.step(() => this.#end(bug.failure));
    bug.step(() => socket.destroy());
    bug.failure.addAddress(`listener ${this.config.name}`);
  }

  /** The header is read; what follows is TLS, or what the listener is for. */
  #continue(socket: Socket, rest: Bytes): void {
    this.#headerRead = true;
    if (this.config.tls === undefined) this.#hand(socket, rest);
    else if (rest.byteLength > 0) this.#startTls(socket, rest);
  }

  /** With the first bytes behind the header. */
  #startTls(socket: Socket, rest: Bytes): void {
    if (beginsPlainHttp(rest[0])) this.#refusePlain(socket);
    else if (this.listener === undefined) this.#fail(new Failure("internal", "no listener"));
    else this.listener.startTls(socket, rest, this);
  }

  #refusePlain(socket: Socket): void {
    this.#refused = new Failure("plain_http");
    const answer = this.answerPlain(this.#source);
    if (answer === undefined) {
      this.#fail(this.#refused);
      return;
    }
    socket.write(answer);
    socket.end();
    // The rest of the request is read and thrown away, so that a reset does not take the answer.
    this.core.deadlines.arm(this.#deadline, PLAIN_LINGER_MS);
  }

  #hand(socket: Socket, rest: Bytes | undefined): void {
    if (this.#over) return;
    this.#over = true;
    this.core.deadlines.remove(this.#deadline);
    const handler = this.onReady(socket, this.#source);
    socket.handler = handler;
    if (rest !== undefined && rest.byteLength > 0) handler.onData(socket, rest);
  }

  #fail(failure: Failure): void {
    if (this.#over) return;
    this.#end(failure);
    this.socket.destroy();
  }

  #end(failure: Failure): void {
    if (this.#over) return;
    this.#over = true;
    this.core.deadlines.remove(this.#deadline);
    this.onFailure(this.#refused ?? failure);
  }
}
