import type { AuthenticationConfig } from "../config/snapshot.ts";
import type { Clock } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import { systemRng } from "../core/rng.ts";
import { JwtAuthenticator } from "../filters/jwt/authenticator.ts";
import type { Authenticator } from "../proxy/generation.ts";

/** Says who sends a request. Remote keys are fetched ahead of the first request; until they are there it is denied. */
export function createAuthenticator(config: AuthenticationConfig, clock: Clock, log: Log): Authenticator {
  const authenticator = new JwtAuthenticator(config, { clock, rng: systemRng(), log });
  void authenticator.warm();
  return authenticator;
}
