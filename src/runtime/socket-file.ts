import { lstatSync, renameSync, unlinkSync } from "node:fs";
import { connect } from "node:net";
import process from "node:process";
import { codeOf } from "./address.ts";
import type { SocketAddress } from "./net.ts";

/**
 * Removes the file of a Unix socket that nobody listens on any more: a process that was killed leaves it behind, and the
 * next one could not start. One that answers, and anything else of that name, stays.
 */
export function removeStaleSocket(path: string): Promise<void> {
  return new Promise((resolve) => {
    const probe = connect({ path });
    probe.once("connect", () => {
      probe.destroy();
      resolve();
    });
    probe.once("error", (error) => {
      // Refused: it is a socket and nobody listens. A path that is no socket says ENOTSOCK, a missing one ENOENT.
      if (codeOf(error) === "ECONNREFUSED") unlinkSync(path);
      resolve();
    });
  });
}

/** The file of a Unix socket that we listen on, to know it again. Made once it is there; of other addresses nothing. */
export class SocketFile {
  readonly #identity: string;

  constructor(readonly address: SocketAddress) {
    this.#identity = address.kind === "unix" ? identityOf(address.path) : "";
  }

  /**
   * Every runtime removes the file at its path when a listener closes, whoever's it is by then. A successor's (ours was deleted, and another
   * process listens there) is put aside for that moment, so that callers find it afterwards. `close` must remove at once.
   */
  closing(close: () => void): void {
    const path = this.address.kind === "unix" ? this.address.path : "";
    const aside = path !== "" && identityOf(path) !== this.#identity ? putAside(path) : "";
    try {
      close();
    } finally {
      if (aside !== "") renameSync(aside, path);
    }
  }
}

/** "": nothing is there. The kernel keeps the number of a file that somebody listens on, so no other can have it meanwhile. */
function identityOf(path: string): string {
  const found = lstatSync(path, { throwIfNoEntry: false });
  return found === undefined ? "" : `${found.dev} ${found.ino}`;
}

/** Where it is now; "": there was nothing, or it may not be moved, and then it cannot be removed either. */
function putAside(path: string): string {
  const aside = `${path}.${process.pid}~`;
  try {
    renameSync(path, aside);
    return aside;
  } catch {
    return "";
  }
}
