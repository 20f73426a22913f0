import net from "node:net";

/** Load that notices everything: connections that must never drop, requests that must never fail. */

export interface Load {
  /** What went wrong, in words; must stay empty. */
  readonly failures: string[];
  /** Requests answered, or messages echoed. */
  readonly count: () => number;
  stop(): Promise<void>;
}

/** WebSockets (as far as a proxy is concerned: an upgrade, then bytes) that echo all the time. */
export function startTunnels(port: number, count: number): Load {
  const failures: string[] = [];
  let echoed = 0;
  let stopping = false;
  const sockets = Array.from({ length: count }, (_, index) => {
    const socket = net.connect(port, "127.0.0.1");
    let heard = "";
    let sent = 0;
    const ping = (): void => void socket.write(`<${index}:${++sent}>`);
    socket.on("connect", () => {
      socket.write(
        "GET /ws HTTP/1.1\r\nhost: long.test\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\r\n",
      );
    });
    socket.on("data", (chunk) => {
      heard += chunk.toString("latin1");
      if (sent === 0) {
        if (!heard.includes("\r\n\r\n")) return;
        if (!heard.startsWith("HTTP/1.1 101")) failures.push(`tunnel ${index}: ${heard.slice(0, 80)}`);
        heard = "";
        ping();
        return;
      }
      if (!heard.endsWith(">")) return;
      if (heard !== `<${index}:${sent}>`) failures.push(`tunnel ${index}: heard ${heard.slice(0, 80)}`);
      heard = "";
      echoed++;
      setTimeout(ping, 50);
    });
    socket.on("close", () => {
      if (!stopping) failures.push(`tunnel ${index}: closed after ${sent} messages`);
    });
    socket.on("error", (error) => {
      if (!stopping) failures.push(`tunnel ${index}: ${error.message}`);
    });
    return socket;
  });
  return {
    failures,
    count: () => echoed,
    async stop() {
      stopping = true;
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** Kept connections that ask as fast as they are answered. */
export function startRequests(port: number, connections: number): Load {
  const failures: string[] = [];
  let answered = 0;
  let stopping = false;
  const sockets = Array.from({ length: connections }, (_, index) => {
    const socket = net.connect(port, "127.0.0.1");
    let heard = "";
    const ask = (): void => void socket.write("GET /load HTTP/1.1\r\nhost: long.test\r\n\r\n");
    socket.on("connect", ask);
    socket.on("data", (chunk) => {
      heard += chunk.toString("latin1");
      const end = heard.indexOf("\r\n\r\n");
      if (end < 0) return;
      const length = Number(/\r\ncontent-length: *(\d+)/i.exec(heard)?.[1] ?? Number.NaN);
      if (!(heard.length >= end + 4 + length)) return;
      if (!heard.startsWith("HTTP/1.1 200")) failures.push(`connection ${index}: ${heard.slice(0, 200)}`);
      heard = "";
      answered++;
      if (!stopping) ask();
    });
    socket.on("close", () => {
      if (!stopping) failures.push(`connection ${index}: closed, heard ${heard.slice(0, 200)}`);
    });
    socket.on("error", (error) => {
      if (!stopping) failures.push(`connection ${index}: ${error.message}`);
    });
    return socket;
  });
  return {
    failures,
    count: () => answered,
    async stop() {
      stopping = true;
      for (const socket of sockets) socket.destroy();
    },
  };
}
