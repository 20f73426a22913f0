import type { AuthenticationConfig } from "../config/snapshot.ts";
import type { Clock } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import type { Rng } from "../core/rng.ts";
import { JwtAuthenticator } from "../filters/jwt/authenticator.ts";
import type { Authenticator } from "../proxy/generation.ts";

/** Says who sends a request. Remote keys are fetched at once, so that the first request need not wait for them. */
export function createAuthenticator(config: AuthenticationConfig, clock: Clock, rng: Rng, log: Log): Authenticator {
  const authenticator = new JwtAuthenticator(config, { clock, rng, log });
  void authenticator.warm();
  return authenticator;
}
