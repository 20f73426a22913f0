import type { Clock } from "../../core/clock.ts";
import { HeaderBlock } from "../../core/head.ts";
import type { CalloutAnswer, CalloutRequest } from "../../filters/contract.ts";
import { blockOf, bytesOf } from "./messages.ts";
import type { TableCallout } from "./table-schema.ts";

/** Answers the calls that a filter makes from the table, in order; keeps what was asked. */
export class CalloutDesk {
  readonly made: CalloutRequest[] = [];
  readonly #cancelled = new Set<number>();
  #planned: TableCallout[] = [];
  clock: Clock | undefined;

  /** What the calls of the next step get. */
  plan(answers: readonly TableCallout[]): void {
    this.#planned = [...answers];
    this.made.length = 0;
  }

  /** As a proxy does: the answer never comes within the call. A call that nothing was planned for fails. */
  open(request: CalloutRequest, done: (answer: CalloutAnswer | undefined) => void): number {
    const id = this.made.push(request);
    const at = this.#planned.findIndex(({ service }) => service === undefined || nameOf(service) === nameOf(request.service));
    const plan = at < 0 ? undefined : this.#planned.splice(at, 1)[0];
    const answer = plan?.answer;
    this.clock?.setTimer(answer?.after ?? 0, () => {
      if (!this.#cancelled.delete(id)) done(answer === undefined ? undefined : toAnswer(answer));
    });
    return id;
  }

  cancel(id: number): void {
    this.#cancelled.add(id);
  }
}

const nameOf = (service: string): string => (service.includes("/") ? service : `default/${service}`);

function toAnswer(answer: NonNullable<TableCallout["answer"]>): CalloutAnswer {
  const headers = HeaderBlock.from([[":status", String(answer.status)]]);
  for (const [name, value] of blockOf(answer.headers).entries()) headers.add(name, value);
  return {
    headers,
    body: bytesOf(answer.body)[0] ?? new Uint8Array(),
    trailers: answer.trailers === undefined ? undefined : blockOf(answer.trailers),
  };
}
