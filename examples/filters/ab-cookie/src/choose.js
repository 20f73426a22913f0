/** The value of a cookie in all `cookie` fields of a request; undefined: not there, or there with different values. */
export function readCookie(fields, name) {
  const values = new Set();
  for (const pair of fields.flatMap((field) => field.split(";"))) {
    const at = pair.indexOf("=");
    if (at > 0 && pair.slice(0, at).trim() === name) values.add(pair.slice(at + 1).trim());
  }
  return values.size === 1 ? [...values][0] : undefined;
}

/** A variant by weight; the same text gets the same one. */
export function chooseVariant({ variants, total }, text) {
  let rest = hash(text) % total;
  for (const [name, weight] of variants) {
    if (rest < weight) return name;
    rest -= weight;
  }
  return variants[0][0];
}

/** FNV-1a with a last stir, so that its low bits are as good as its high ones. */
function hash(text) {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  return (value ^ (value >>> 13)) >>> 0;
}
