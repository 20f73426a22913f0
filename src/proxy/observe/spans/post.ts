import { Buffer } from "node:buffer";
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { isIP } from "node:net";
import type { Clock } from "../../../core/clock.ts";
import { TRACE_LIMITS } from "../../../core/limits.ts";

/**
 * Posts JSON and resolves with the status of the answer, once that is over, too large or too slow: what it says beyond its status is read
 * and thrown away. Rejects when none came within `timeoutMs`. No redirects, no proxy of the environment, a connection of its own.
 */
export function postJson(to: string, body: string, timeoutMs: number, clock: Clock, signal: AbortSignal): Promise<number> {
  const url = new URL(to);
  const secure = url.protocol === "https:";
  const host = url.hostname.startsWith("[") ? url.hostname.slice(1, -1) : url.hostname;
  const bytes = Buffer.from(body, "utf8");
  const options = {
    host,
    port: url.port === "" ? (secure ? 443 : 80) : Number(url.port),
    path: `${url.pathname}${url.search}`,
    method: "POST",
    agent: false as const,
    headers: {
      host: url.host,
      "content-type": "application/json",
      "content-length": String(bytes.byteLength),
      "user-agent": "selvedge",
      connection: "close",
    },
    ...(secure ? { servername: isIP(host) === 0 ? host : "", rejectUnauthorized: true } : {}),
  };
  return new Promise((resolve, reject) => {
    let status = 0;
    const outgoing = (secure ? httpsRequest : httpRequest)(options);
    const finish = (why: Error): void => {
      timer.cancel();
      signal.removeEventListener("abort", abort);
      if (status > 0) resolve(status);
      else reject(why);
      outgoing.destroy();
    };
    const abort = (): void => finish(new Error("given up"));
    const timer = clock.setTimer(timeoutMs, () => finish(new Error(`no answer within ${timeoutMs} ms`)));
    signal.addEventListener("abort", abort);
    outgoing.on("error", finish);
    outgoing.on("close", () => finish(new Error("the connection was closed without an answer")));
    outgoing.on("response", (answer) => {
      let read = 0;
      status = answer.statusCode ?? 0;
      answer.on("data", (part: Buffer) => {
        read += part.byteLength;
        if (read > TRACE_LIMITS.answerBytes) finish(new Error("the answer is too large"));
      });
      answer.on("end", () => finish(new Error("the answer had no status")));
      answer.on("error", finish);
    });
    outgoing.end(bytes);
  });
}
