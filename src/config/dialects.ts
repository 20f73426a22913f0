interface Dialect {
  readonly group: RegExp;
  readonly name: string;
}

/** Configuration languages of others that people paste. */
const DIALECTS: readonly Dialect[] = [
  { group: /^gateway\.networking\.k8s\.io\//, name: "the Gateway API" },
  { group: /\.istio\.io\//, name: "Istio" },
  { group: /\.smi-spec\.io\//, name: "SMI" },
  { group: /^networking\.k8s\.io\//, name: "Kubernetes" },
  { group: /^(v1|apps\/v1|batch\/v1|discovery\.k8s\.io\/.*)$/, name: "Kubernetes" },
  { group: /^(.*\.)?linkerd\.io\//, name: "Linkerd" },
  { group: /^consul\.hashicorp\.com\//, name: "Consul" },
  { group: /^gateway\.envoyproxy\.io\//, name: "Envoy Gateway" },
  { group: /^traefik\.(io|containo\.us)\//, name: "Traefik" },
  { group: /^configuration\.konghq\.com\//, name: "Kong" },
];

/** The native kind that does what a foreign one does. */
const COUNTERPARTS: Readonly<Record<string, string>> = {
  GatewayClass: "Gateway",
  Gateway: "Gateway",
  HTTPRoute: "Route",
  GRPCRoute: "Route",
  VirtualService: "Route",
  Ingress: "Route",
  IngressRoute: "Route",
  TrafficSplit: "Route with weighted backends",
  HTTPRouteGroup: "Route",
  DestinationRule: "Service with subsets",
  ServiceEntry: "Service",
  Service: "Service",
  Endpoints: "Service with endpoints",
  EndpointSlice: "Service with endpoints",
  Secret: "Gateway with tls.certificates",
  RequestAuthentication: "Authentication",
  AuthorizationPolicy: "Filter with the built-in authz",
  WasmPlugin: "Filter",
  EnvoyFilter: "Filter",
  Middleware: "Filter",
  Telemetry: "Mesh",
};

/** What dialect an apiVersion belongs to, and what to write instead; undefined: none that is known. */
export function describeDialect(apiVersion: string, kind: string): { readonly name: string; readonly hint: string } | undefined {
  const dialect = DIALECTS.find((each) => each.group.test(apiVersion));
  if (dialect === undefined) return undefined;
  const counterpart = Object.hasOwn(COUNTERPARTS, kind) ? COUNTERPARTS[kind] : undefined;
  return { name: dialect.name, hint: counterpart === undefined ? "" : `write a ${counterpart} (selvedge.dev/v1)` };
}
