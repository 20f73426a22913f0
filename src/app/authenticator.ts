import type { AuthenticationConfig } from "../config/snapshot.ts";
import type { Clock } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import type { Authenticator } from "../proxy/generation.ts";

/** Says who sends a request. An enforcement point that is missing denies: without the verifier nobody gets in. */
export function createAuthenticator(config: AuthenticationConfig, _clock: Clock, log: Log): Authenticator {
  log.error("this build cannot verify tokens; every request is denied", { authentication: config.name });
  return { verify: () => ({ kind: "denied", reason: "tokens cannot be verified", status: 401 }) };
}
