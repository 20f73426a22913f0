/**
 * Moduli made by the broken generator of CVE-2017-15361 (ROCA) are powers of 65537 modulo every small prime. A random modulus
 * is so for all of these primes with a probability below 2^-27.
 */
const PRIMES = [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157] as const;

function powersOf65537(prime: number): ReadonlySet<number> {
  const powers = new Set<number>();
  for (let power = 1; !powers.has(power); power = (power * 65537) % prime) powers.add(power);
  return powers;
}

const SUBGROUPS = PRIMES.map((prime) => ({ prime, powers: powersOf65537(prime) }));

/** Has this RSA modulus (big-endian) the fingerprint of the broken generator? */
export function isRocaModulus(modulus: Uint8Array): boolean {
  return SUBGROUPS.every(({ prime, powers }) => {
    let rest = 0;
    for (const byte of modulus) rest = (rest * 256 + byte) % prime;
    return powers.has(rest);
  });
}
