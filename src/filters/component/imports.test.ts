import { expect, test } from "bun:test";
import type { ComponentGuest } from "./guest.ts";
import { ImportTable } from "./imports.ts";
import type { FunctionType } from "./types.ts";

test("functions of WASI that nothing grants link, and trap when they are called", () => {
  const table = new ImportTable({} as ComponentGuest);
  const nothing = { text: "func()" } as FunctionType;
  for (const [interfaceName, name] of [
    ["wasi:sockets/tcp@0.2.9", "[method]tcp-socket.start-connect"],
    ["wasi:sockets/tcp-create-socket@0.2.9", "create-tcp-socket"],
    ["wasi:sockets/udp@0.2.0", "[method]udp-socket.start-bind"],
    ["wasi:sockets/ip-name-lookup@0.2.9", "resolve-addresses"],
    ["wasi:filesystem/types@0.2.9", "[method]descriptor.open-at"],
  ] as const)
    expect(() => (table.func(interfaceName, name, nothing) as () => void)()).toThrow(`it may not call ${interfaceName}.${name}`);
  expect(() => table.func("wasi:http/outgoing-handler@0.2.9", "handle", nothing)).toThrow("selvedge:filter/call-out");
});
