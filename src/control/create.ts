import { MemoryDistributor } from "./distribute/memory.ts";
import { createNatsPlane } from "./nats/plane.ts";
import { type ControlPlaneOptions, type CreatedControlPlane, createCompiler } from "./options.ts";
import { Plane } from "./plane.ts";
import { MemoryStore, type Persistence } from "./store/memory.ts";

/** Makes a control plane; nothing happens before `start`. */
export function createControlPlane(options: ControlPlaneOptions): CreatedControlPlane {
  const { backend } = options;
  return backend.kind === "memory" ? createMemoryPlane(options, backend.persistence) : createNatsPlane(options, backend);
}

function createMemoryPlane(options: ControlPlaneOptions, persistence: Persistence | undefined): CreatedControlPlane {
  const store = new MemoryStore(persistence);
  const distributor = new MemoryDistributor(options.groups?.[0] ?? "gateway", options.version);
  const compiler = createCompiler(options, (digest) => store.getModule(digest));
  const { clock, rng, log, observer, owners } = options;
  const plane = new Plane({ store, distributor, compiler, clock, rng, log, connection: () => "none", observer, owners });
  return Object.assign(plane, { bus: distributor.bus });
}
