import { Complaints, connectHint } from "../../config/nats/complaints.ts";
import { connectNats } from "../../config/nats/connect.ts";
import { isSubjectToken } from "../../config/nats/names.ts";
import { NotNatsError, notNatsFields } from "../../config/nats/transport.ts";
import type { Timer } from "../../core/clock.ts";
import { describeCause } from "../../core/failure.ts";
import type { ControlStatus } from "../control.ts";
import { NatsDistributor } from "../distribute/nats.ts";
import { ConfigInbox } from "../inbox/inbox.ts";
import { type ControlBackend, type ControlPlaneOptions, type CreatedControlPlane, createCompiler } from "../options.ts";
import { Plane } from "../plane.ts";
import { NatsStore } from "../store/nats.ts";
import { collectGarbage, type Garbage } from "./garbage.ts";
import { NatsLink } from "./link.ts";
import { UnreadableMessages } from "./unreadable.ts";

const RETRY_MS = 1_000;
const ACK_WAIT_MS = 5_000;
/** On average, so that two control planes do it at different times. */
const COLLECT_MS = 15 * 60_000;

type NatsBackend = ControlBackend & { readonly kind: "nats" };

/** Throws an `Error` when the id cannot be part of a NATS subject. */
export function createNatsPlane(options: ControlPlaneOptions, backend: NatsBackend): CreatedControlPlane {
  const id = backend.id ?? "control";
  if (!isSubjectToken(id)) throw new Error(`control plane id ${JSON.stringify(id)}: only letters, digits, - and _`);
  return new NatsPlane(
    options,
    backend,
    new NatsLink(
      () => (backend.connect ?? connectNats)(backend.address, id),
      backend.replicas,
      new UnreadableMessages(options.log),
    ),
  );
}

/** A control plane on NATS: the plane itself, the inbox in front of it, and what happens when the connection comes and goes. */
class NatsPlane extends Plane implements CreatedControlPlane {
  readonly bus = undefined;
  readonly #inbox: ConfigInbox;
  readonly #collect: () => Promise<Garbage>;
  readonly #complaints: Complaints;
  #garbage: Timer | undefined;
  #ended = false;
  #wasThere = false;
  #retry: { readonly timer: Timer; readonly wake: () => void } | undefined;

  constructor(
    options: ControlPlaneOptions,
    backend: NatsBackend,
    readonly link: NatsLink,
  ) {
    const { clock, rng, log } = options;
    const store = new NatsStore(link, clock);
    const distributor = new NatsDistributor(link, clock, log);
    const published = (group: string) => distributor.publishedFilters(group);
    const compiler = createCompiler(options, (digest) => store.getModule(digest), published);
    let connected = false;
    super({
      store,
      distributor,
      compiler,
      clock,
      rng,
      log,
      connection: () => (connected ? "connected" : "disconnected"),
      observer: options.observer,
      owners: options.owners,
    });
    this.#complaints = new Complaints(clock);
    this.#setConnected = (now) => {
      connected = now;
    };
    this.#collect = () => collectGarbage(link, store, distributor, clock.wallMs());
    this.#inbox = new ConfigInbox({
      link,
      plane: this,
      clock,
      log,
      owners: options.owners,
      ackWaitMs: backend.ackWaitMs ?? ACK_WAIT_MS,
    });
  }

  readonly #setConnected: (now: boolean) => void;

  /** Waits for NATS as long as it takes; rejects when it was stopped meanwhile. */
  override async start(): Promise<void> {
    await this.#persist("NATS cannot be used yet", () => super.start());
    if (this.#ended) throw new Error("the control plane was stopped before it reached NATS");
    this.#setConnected(true);
    this.#sayBack();
    await this.#persist("the inbox cannot be opened yet", () => this.#inbox.open());
    void this.#watchConnection();
    this.#collectLater();
  }

  override status(): ControlStatus {
    return { ...super.status(), refused: this.#inbox.refusals.list(), unreadable: this.link.unreadable.list() };
  }

  override async stop(): Promise<void> {
    this.#ended = true;
    this.#garbage?.cancel();
    this.#retry?.timer.cancel();
    this.#retry?.wake();
    await this.#inbox.close();
    await super.stop();
    await this.link.close();
  }

  async #watchConnection(): Promise<void> {
    for await (const event of this.link.parts.connection.status()) {
      if (event.type === "disconnect") {
        this.#setConnected(false);
        if (this.#complaints.isDue("lost")) this.options.log.warn("NATS is lost, reconnecting");
      }
      if (event.type === "error" && event.error instanceof NotNatsError && this.#complaints.isDue(event.error.message))
        this.options.log.warn("a connection to NATS was given up", notNatsFields(event.error));
      if (event.type === "reconnect") {
        this.#setConnected(true);
        this.#sayBack();
        // What came meanwhile is in the streams; the server may even be a new one.
        void this.#persist("NATS cannot be used yet", async () => {
          await this.recover();
          await this.#inbox.open();
        });
      }
    }
  }

  #collectLater(): void {
    const { clock, rng, log } = this.options;
    if (this.#ended) return;
    this.#garbage = clock.setTimer(COLLECT_MS * (0.5 + rng.next()), () => {
      const done = this.#collect().then((garbage) => log.debug("objects that nobody refers to were deleted", { ...garbage }));
      void done
        .catch((error) => log.warn("garbage could not be collected", { cause: describeCause(error) }))
        .then(() => this.#collectLater());
    });
  }

  async #persist(message: string, work: () => Promise<void>): Promise<void> {
    while (!this.#ended) {
      try {
        return await work();
      } catch (error) {
        if (this.#ended) return;
        const cause = describeCause(error);
        const hint = connectHint(cause);
        if (this.#complaints.isDue(`${message} ${cause}`))
          this.options.log.warn(message, { cause, ...(hint === "" ? {} : { hint }) });
        await this.#pause();
      }
    }
  }

  /** Something was complained of, and is over. */
  #sayBack(): void {
    const lostMs = this.#complaints.forget();
    // What was not there yet is not lost, and not back.
    if (lostMs !== undefined)
      this.options.log.info(this.#wasThere ? "NATS is back" : "NATS can be used", this.#wasThere ? { lostMs } : {});
    this.#wasThere = true;
  }

  #pause(): Promise<void> {
    return new Promise((wake) => {
      this.#retry = { timer: this.options.clock.setTimer(RETRY_MS, wake), wake };
    });
  }
}
