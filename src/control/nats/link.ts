import { type JetStreamClient, type JetStreamManager, jetstream, jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import { NatsObjects } from "./objects.ts";
import { UnreadableMessages } from "./unreadable.ts";

/** What was asked when the connection broke is never answered, and holds up the next apply for so long. */
const REQUEST_MS = 2_000;

export interface NatsParts {
  readonly connection: NatsConnection;
  readonly client: JetStreamClient;
  readonly manager: JetStreamManager;
  readonly objects: NatsObjects;
}

/** The control plane's connection to NATS and what stands on it; opened once, it reconnects by itself. */
export class NatsLink {
  #parts: NatsParts | undefined;

  constructor(
    readonly connect: () => Promise<NatsConnection>,
    /** Copies of streams and buckets in a cluster. */
    readonly replicas = 1,
    /** Whatever is read through it and is not what it should be. */
    readonly unreadable = new UnreadableMessages(),
  ) {}

  /** Connects when it has not yet, and makes sure that the object store is there. Idempotent. */
  async open(): Promise<void> {
    this.#parts ??= await this.#make();
    await this.#parts.objects.open();
  }

  /** Throws before `open`. */
  get parts(): NatsParts {
    if (this.#parts === undefined) throw new Error("not connected to NATS yet");
    return this.#parts;
  }

  async close(): Promise<void> {
    await this.#parts?.connection.close();
  }

  async #make(): Promise<NatsParts> {
    const connection = await this.connect();
    try {
      // Asks for the account, and so finds out whether JetStream is enabled.
      const manager = await jetstreamManager(connection, { timeout: REQUEST_MS });
      return {
        connection,
        manager,
        client: jetstream(connection, { timeout: REQUEST_MS }),
        objects: new NatsObjects(connection, manager, this.replicas),
      };
    } catch (error) {
      await connection.close();
      throw error;
    }
  }
}
