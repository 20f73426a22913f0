import { expect, test } from "bun:test";
import { coveringHost } from "./host.ts";

test("a route's host that covers the request's: the exact one, else the longest", () => {
  const hosts = ["*", "*.example.org", "*.shop.example.org", "Shop.Example.org"];
  expect(coveringHost(hosts, "shop.example.org:8080")).toBe("shop.example.org");
  expect(coveringHost(hosts, "a.shop.example.org")).toBe("*.shop.example.org");
  expect(coveringHost(hosts, "A.example.org.")).toBe("*.example.org");
  expect(coveringHost(hosts, "other.test")).toBe("*");
  expect(coveringHost(hosts, "")).toBe("*");
  expect(coveringHost(["*.example.org"], "example.org")).toBe("");
});
