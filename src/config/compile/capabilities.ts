import type { CalloutLimits } from "../../core/limits.ts";
import { sortedSet } from "../canonical.ts";
import type { FilterResource } from "../schema/index.ts";
import type { FilterCapabilities, NameAccess, ResourceName } from "../snapshot.ts";
import type { CompileContext } from "./context.ts";

/** What a filter may do, with the defaults of its kind: built-in filters come with the proxy and are trusted as it is. */
export function compileCapabilities(context: CompileContext, filter: FilterResource): FilterCapabilities {
  const { sharedData, rateLimit, clock, random, metrics, log, respond, bodies, headers, attributes, nats } =
    filter.spec.capabilities;
  const { builtin } = filter.spec.module;
  const isBuiltin = builtin !== undefined;
  const ordinary = isBuiltin ? ["**"] : ["*"];
  const accessOf = ({
    read = ordinary,
    write = ordinary,
  }: { readonly [K in keyof NameAccess]?: readonly string[] | undefined }) => ({
    read: sortedSet(read),
    write: sortedSet(write),
  });
  return {
    ...compileCallouts(context, filter),
    sharedData: sharedData === undefined ? undefined : `${filter.metadata.namespace}/${sharedData}`,
    rateLimit: rateLimit ?? builtin === "rate-limit",
    clock: clock ?? isBuiltin,
    ...{ random, metrics, log, respond },
    bodies,
    headers: { request: accessOf(headers.request), response: accessOf(headers.response) },
    attributes: accessOf(attributes),
    nats: { publish: sortedSet(nats.publish), perSecond: nats.perSecond, payloadBytes: nats.payload },
  };
}

function compileCallouts(
  context: CompileContext,
  filter: FilterResource,
): Pick<FilterCapabilities, "callouts" | "calloutLimits"> {
  const found: ResourceName[] = [];
  const limits: [ResourceName, CalloutLimits][] = [];
  for (const [i, { service, ...given }] of filter.spec.capabilities.callouts.entries()) {
    const name = context.resolve(filter, "Service", service, ["spec", "capabilities", "callouts", i]);
    if (name === undefined) continue;
    found.push(name);
    const { concurrent, perSecond, timeout, answer } = given;
    if (concurrent === undefined) continue;
    limits.push([name, { concurrent, perSecond, timeoutMs: timeout, ...(answer === undefined ? {} : { answerBytes: answer }) }]);
  }
  limits.sort(([a], [b]) => (a < b ? -1 : 1));
  return { callouts: sortedSet(found), calloutLimits: Object.fromEntries(limits) };
}
