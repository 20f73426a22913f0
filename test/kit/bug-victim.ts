/** A data plane with a bug on every request for `/bug`; prints its port. What ends it is said on stderr. */
import process from "node:process";
import type { ExchangeRecord } from "../../src/proxy/observe/record.ts";
import { SeeingObserver, startProxy } from "./proxy.ts";
import { snapshotOf } from "./snapshot.ts";

class BuggyObserver extends SeeingObserver {
  override onExchangeEnd(record: ExchangeRecord): void {
    super.onExchangeEnd(record);
    if (record.originalPath === "/bug") throw new Error("a bug of the victim");
  }
}

const proxy = await startProxy(snapshotOf(), { observer: new BuggyObserver() });
process.stdout.write(`${proxy.port()}\n`);
