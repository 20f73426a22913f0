/**
 * Weight of one element of an Accept field (RFC 9110 §12.4.2), from its parameters in lower case: 1 when there is none, 0 to 1; what is no
 * quality value refuses the element.
 */
export function readQuality(parameters: readonly string[]): number {
  const weight = parameters.find((each) => each.startsWith("q="));
  if (weight === undefined) return 1;
  return /^q=(0(\.\d{0,3})?|1(\.0{0,3})?)$/.test(weight) ? Number(weight.slice(2)) : 0;
}
