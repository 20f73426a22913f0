import { REDACTED, SecretPlaces, secretTexts, settingsValue } from "../../config/secret-values.ts";
import type { FilterConfig } from "../../config/snapshot.ts";

/** Secrets of settings, the longest first. */
const SECRETS = new WeakMap<FilterConfig, readonly string[]>();

/** As many of the first characters of a secret at the end of a text tell that it was cut in the middle of it. */
const CUT_CHARS = 8;

/**
 * What a guest says, for logs, issues and status: it may quote its settings, so what is secret of them is replaced. What it does to a
 * secret (parts, another encoding) is not seen.
 */
export function guestWords(config: FilterConfig, text: string): string {
  let words = text;
  for (const secret of secretsOf(config)) {
    if (words.includes(secret)) words = words.replaceAll(secret, REDACTED);
    words = withoutCut(words, secret);
  }
  return words;
}

function secretsOf(config: FilterConfig): readonly string[] {
  let secrets = SECRETS.get(config);
  if (secrets === undefined) {
    secrets = secretTexts(settingsValue(config.settings), new SecretPlaces(new Set(config.secrets)));
    SECRETS.set(config, secrets);
  }
  return secrets;
}

/** Texts of guests are cut where they are too long. */
function withoutCut(text: string, secret: string): string {
  const from = Math.max(0, text.length - secret.length + 1);
  for (let at = text.indexOf(secret.slice(0, CUT_CHARS), from); at >= 0; at = text.indexOf(secret.slice(0, CUT_CHARS), at + 1))
    if (secret.startsWith(text.slice(at))) return `${text.slice(0, at)}${REDACTED}`;
  return text;
}
