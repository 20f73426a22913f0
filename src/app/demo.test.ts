import { expect, test } from "bun:test";
import { moveListeners } from "./demo.ts";

const tls = { certificates: [{ certificate: { inline: "c" }, key: { inline: "k" } }] };
/** As somebody may have changed it: listeners of their own in front and behind. */
const gateway = (...ports: number[]) => ({
  ...{ apiVersion: "selvedge.dev/v1", kind: "Gateway", metadata: { name: "demo", labels: { kept: "yes" } } },
  spec: {
    listeners: [
      { unix: "/run/demo.sock" },
      { port: ports[0] ?? 0 },
      { port: ports[1] ?? 0, protocol: "HTTPS", tls },
      { port: ports[2] ?? 0, name: "second" },
    ],
  },
});

test("each port is moved by itself, the rest of the gateway stays as it was left", () => {
  const left = gateway(1, 2, 3);
  const rows: [number | undefined, number | undefined, object][] = [
    [undefined, undefined, gateway(1, 2, 3)],
    [9, undefined, gateway(9, 2, 3)],
    [undefined, 9, gateway(1, 9, 3)],
    [8, 9, gateway(8, 9, 3)],
  ];
  for (const [http, https, expected] of rows)
    expect(moveListeners(left, { http, https })).toEqual({ gateway: JSON.parse(JSON.stringify(expected)), without: [] });
  expect(left).toEqual(gateway(1, 2, 3));
});

test("a listener that was taken out is named, and not made again", () => {
  const plain = { ...gateway(), spec: { listeners: [{ port: 1, protocol: "HTTP" }] } };
  const { gateway: moved, without } = moveListeners(plain, { http: 2, https: 3 });
  expect([moved, without]).toEqual([{ ...plain, spec: { listeners: [{ port: 2, protocol: "HTTP" }] } }, ["https"]]);
});
