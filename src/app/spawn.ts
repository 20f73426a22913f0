import { spawnWorker } from "../runtime/process.ts";
import { type FromWorker, WORKER_VARIABLE, type WorkerSettings } from "./messages.ts";
import type { SpawnWorker } from "./worker-slot.ts";

/** Starts workers: this same program with the settings in its environment, and a channel to talk through. */
export function createSpawn(settings: Omit<WorkerSettings, "index">): SpawnWorker {
  return (index, onMessage, onExit) => {
    const own: WorkerSettings = { ...settings, index };
    const worker = spawnWorker([], {
      env: { [WORKER_VARIABLE]: JSON.stringify(own) },
      onMessage: (message) => onMessage(message as FromWorker),
      onExit: (code, signal, error) =>
        onExit(error?.message ?? (signal === undefined ? `exit code ${code}` : `signal ${signal}`)),
    });
    return { pid: worker.pid, send: (message) => worker.send(message), kill: () => worker.kill("SIGKILL") };
  };
}
