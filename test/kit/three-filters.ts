/** The three built-in filters as resources `limit`, `guard` and `mark`, with settings that let these methods through. Begins with `---`. */
export function threeFiltersYaml(methods: readonly string[], header: string): string {
  return `---
apiVersion: selvedge.dev/v1
kind: Filter
metadata: {name: limit}
spec:
  module: {builtin: rate-limit}
  capabilities: {rateLimit: true}
  settings: {limits: [{name: all, requests: 1000000, per: second, key: [clientIp]}]}
---
apiVersion: selvedge.dev/v1
kind: Filter
metadata: {name: guard}
spec:
  module: {builtin: authz}
  settings: {rules: [{name: all, effect: allow, when: {methods: [${methods.join(", ")}]}}]}
---
apiVersion: selvedge.dev/v1
kind: Filter
metadata: {name: mark}
spec:
  module: {builtin: transform}
  settings: {response: {headers: [{op: set, name: ${header}, value: "1"}]}}
`;
}
