import { SystemClock } from "../../../src/core/clock.ts";
import { WAIT_MS } from "../../kit/patience.ts";
import { freePort } from "../../kit/ports.ts";
import type { RawUpstream } from "../../kit/raw.ts";
import { until } from "../../kit/until.ts";
import type { Case, Host } from "./format.ts";
import { expectedLines, judge, type Outcome } from "./judge.ts";
import { ask, type HeardMessage, startAnswering } from "./wire.ts";

/** A case with its upstream. */
export interface Stage {
  readonly each: Case;
  readonly upstreamPort: number;
}
/** Services for calls: one that answers, one whose port is dead. */
export interface Peers {
  /** Other names of the one that answers: examples call services by names of their own. */
  readonly aliases: readonly string[];
  readonly asidePort: number;
  readonly deadPort: number;
}
/** What the host is called. */
export const NODE = { id: "conformance", group: "edge" };

export const NO_PEERS: Peers = { aliases: [], asidePort: 1, deadPort: 1 };

/** A host that runs all cases, each behind a port of its own. */
export interface HostUnderTest {
  readonly host: Host;
  port(each: Case): number;
  /** What the case's filter logged so far at info or above. */
  lines(each: Case): readonly string[];
  stop(): Promise<void>;
}

/** The cases of one run, their peers and the host. */
export class Play {
  readonly #upstreams: RawUpstream[] = [];
  readonly #got = new Map<string, HeardMessage[]>();
  readonly #called: HeardMessage[] = [];
  #host: HostUnderTest | undefined;

  constructor(
    readonly cases: readonly Case[],
    readonly start: (stages: readonly Stage[], peers: Peers) => Promise<HostUnderTest>,
    readonly aliases: readonly string[] = [],
  ) {}

  async begin(): Promise<void> {
    const stages: Stage[] = [];
    for (const each of this.cases) {
      const answer = each.upstream ?? {};
      if (answer === "absent") {
        stages.push({ each, upstreamPort: await freePort() });
        continue;
      }
      const { upstream, got } = await startAnswering(() => answer);
      this.#upstreams.push(upstream);
      this.#got.set(each.name, got);
      stages.push({ each, upstreamPort: upstream.port });
    }
    const aside = await startAnswering((request) => {
      this.#called.push(request);
      return this.cases.find((each) => isFor(each, request))?.aside ?? {};
    });
    this.#upstreams.push(aside.upstream);
    this.#host = await this.start(stages, { aliases: this.aliases, asidePort: aside.upstream.port, deadPort: await freePort() });
  }

  gotOf(each: Case): readonly HeardMessage[] {
    return this.#got.get(each.name) ?? [];
  }

  async end(): Promise<void> {
    await this.#host?.stop();
    for (const upstream of this.#upstreams) await upstream.stop();
  }

  /** Plays a case; throws the first difference. */
  async play(each: Case): Promise<void> {
    const host = this.#host as HostUnderTest;
    const answers: HeardMessage[] = [];
    for (const request of each.requests ?? [{}]) answers.push(await ask(host.port(each), request));
    const outcome = (): Outcome => ({
      answers,
      got: this.gotOf(each),
      called: this.#called.filter((request) => isFor(each, request)),
      lines: host.lines(each),
    });
    // Lines and calls may come after the answer: as many as are expected are waited for.
    const wanted = expectedLines(each, host.host).length;
    const patience = new SystemClock().nowMs() + (wanted > 0 ? LINES_WAIT_MS : 0);
    await until(() => judge(each, outcome(), host.host) === undefined || new SystemClock().nowMs() > patience);
    const verdict = judge(each, outcome(), host.host);
    if (verdict !== undefined)
      throw new Error(`${verdict}\nall lines:\n  ${outcome().lines.join("\n  ")}\nanswer: ${answers.at(-1)?.line}`);
  }
}

/** Only a case that fails waits so long. */
const LINES_WAIT_MS = WAIT_MS / 2;

function isFor(each: Case, request: HeardMessage): boolean {
  const path = request.line.split(" ")[1] ?? "";
  return path === each.asidePath || path.split("/")[1]?.split("?", 1)[0] === each.name;
}
