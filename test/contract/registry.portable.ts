/** Modules from OCI registries: the forms in which they are published, and what is no module. Over real sockets. */
import assert from "node:assert/strict";
import { findModule } from "../../src/config/oci/archive.ts";
import { pullModule } from "../../src/config/oci/pull.ts";
import { pushModule } from "../../src/config/oci/push.ts";
import { RegistrySession } from "../../src/config/oci/session.ts";
import { CONFIG_LIMITS, OCI_LIMITS } from "../../src/core/limits.ts";
import { LAYER, patience, referenceOf, refuses, settingsOf, useRegistries, WASM } from "../kit/pulls.ts";
import { digestOf, gzipOf, manifestOf, tarHead, tarOf, zstdOf } from "../kit/registry.ts";
import { describe, test } from "../kit/suite.ts";
import { ModuleBuilder } from "../kit/wasm.ts";

const SOLO = "application/vnd.module.wasm.content.layer.v1+wasm";
const ZSTD_TAR = "application/vnd.oci.image.layer.v1.tar+zstd";
const OCI_TAR = "application/vnd.oci.image.layer.v1.tar+gzip";
const DOCKER_TAR = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const INDEX = "application/vnd.oci.image.index.v1+json";

const on = useRegistries();

describe("forms in which modules are published", () => {
  test("a Wasm artifact, by tag and by digest, and one of Istio and Solo", async () => {
    const manifest = on.tagged("acme/geo:1.2", on.layerOf(WASM));
    const pulled = await on.pull("acme/geo:1.2");
    assert.deepEqual([pulled.digest, pulled.manifestDigest], [digestOf(WASM), manifest]);
    assert.deepEqual(pulled.bytes, WASM);
    assert.deepEqual(await on.pull(`acme/geo@${manifest}`), pulled);
    // The digest counts, whatever the tag.
    assert.deepEqual(await on.pull(`acme/geo:gone@${manifest}`), pulled);
    on.tagged("solo/geo:1", on.layerOf(Buffer.from("{}"), "application/vnd.module.wasm.config.v1+json"), on.layerOf(WASM, SOLO));
    assert.equal((await on.pull("solo/geo:1")).digest, digestOf(WASM));
  });

  test("a module that is known by its digest is not fetched again; the manifest is asked for all the same", async () => {
    on.tagged("acme/geo:1", on.layerOf(WASM));
    const { host } = on.registry;
    const session = new RegistrySession(referenceOf(`${host}/acme/geo:1`), settingsOf(host), "pull", patience());
    const pulled = await pullModule(session, async (digest) => (digest === digestOf(WASM) ? WASM : undefined));
    assert.equal(pulled.digest, digestOf(WASM));
    assert.deepEqual(
      on.registry.asked.map(({ path }) => path),
      ["/v2/acme/geo/manifests/1"],
    );
  });

  test("container images: plugin.wasm in a layer, the last one first, gone when a later layer says so", async () => {
    const other = Buffer.from("other");
    const image = gzipOf(tarOf({ "etc/a": other, "./plugin.wasm": WASM, z: other }));
    on.tagged("image:oci", on.layerOf(image, OCI_TAR));
    on.tagged("image:docker", on.layerOf(image, DOCKER_TAR), on.layerOf(gzipOf(tarOf({ b: other })), DOCKER_TAR));
    on.tagged("image:plain", on.layerOf(tarOf({ "plugin.wasm": WASM }), "application/vnd.oci.image.layer.v1.tar"));
    on.tagged("image:zstd", on.layerOf(zstdOf(tarOf({ a: other, "plugin.wasm": WASM })), ZSTD_TAR));
    for (const tag of ["oci", "docker", "plain", "zstd"])
      assert.equal((await on.pull(`image:${tag}`)).digest, digestOf(WASM), tag);
    on.tagged(
      "image:gone",
      on.layerOf(image, OCI_TAR),
      on.layerOf(gzipOf(tarOf({ ".wh.plugin.wasm": new Uint8Array(0) })), OCI_TAR),
    );
    await refuses(on.pull("image:gone"), /^bad_artifact: its layers hold no plugin.wasm/);
    on.tagged("image:none", on.layerOf(gzipOf(tarOf({ "lib/plugin.wasm": WASM })), OCI_TAR));
    await refuses(on.pull("image:none"), /^bad_artifact: its layers hold no plugin.wasm/);
  });

  test("an index: the manifest for wasm, else linux/amd64, else the only one; never an attestation, never another index", async () => {
    const child = (platform: object | undefined, name: string, wasm: Uint8Array) => {
      const digest = on.tagged(`multi:${name}`, on.layerOf(wasm));
      const size = on.registry.manifests.get(`multi:${name}`)?.bytes.byteLength ?? 0;
      return {
        mediaType: "application/vnd.oci.image.manifest.v1+json",
        digest,
        size,
        ...(platform === undefined ? {} : { platform }),
      };
    };
    const second = new ModuleBuilder().memory(2).build();
    const attestation = child({ os: "unknown", architecture: "unknown" }, "attestation", new ModuleBuilder().memory(3).build());
    const index = (...manifests: object[]): void => void on.registry.tag("multi:1", { schemaVersion: 2, manifests }, INDEX);
    index(
      attestation,
      child({ os: "linux", architecture: "amd64" }, "a", second),
      child({ os: "wasip1", architecture: "wasm" }, "b", WASM),
    );
    assert.equal((await on.pull("multi:1")).digest, digestOf(WASM));
    index(
      attestation,
      child({ os: "linux", architecture: "arm64" }, "a", second),
      child({ os: "linux", architecture: "amd64" }, "b", WASM),
    );
    assert.equal((await on.pull("multi:1")).digest, digestOf(WASM));
    index(attestation, child(undefined, "a", WASM));
    assert.equal((await on.pull("multi:1")).digest, digestOf(WASM));
    index(child({ os: "linux", architecture: "arm64" }, "a", WASM), child({ os: "linux", architecture: "s390x" }, "b", WASM));
    await refuses(on.pull("multi:1"), /^bad_artifact: it is an index of 2 manifests, and none is for wasm/);
    const inner = on.registry.tag("multi:inner", { schemaVersion: 2, manifests: [attestation] }, INDEX);
    index({ mediaType: "application/vnd.oci.image.manifest.v1+json", digest: inner, size: 1 });
    await refuses(on.pull("multi:1"), /^bad_artifact: its index leads to an index|^bad_artifact: it is an index of 0/);
  });

  test("what was pushed is pulled: the same bytes, twice the same manifest, metadata as annotations", async () => {
    const { host } = on.registry;
    const push = () =>
      pushModule(new RegistrySession(referenceOf(`${host}/a/b:1`), settingsOf(host), "pull,push", patience()), WASM, "b.wasm");
    const first = await push();
    assert.deepEqual(await push(), first);
    assert.deepEqual(await on.pull("a/b:1"), { bytes: WASM, ...first });
    assert.equal(on.registry.asked.filter((each) => each.method === "PUT" && each.path.includes("/blobs/")).length, 2);
    const stored = Buffer.from(on.registry.manifests.get("a/b:1")?.bytes ?? []).toString();
    assert.match(stored, /"org.opencontainers.image.title":"b.wasm"/);
  });
});

describe("manifests that are no module", () => {
  const descriptor = { mediaType: LAYER, digest: digestOf(WASM), size: WASM.byteLength };
  const cases: readonly (readonly [string, object, RegExp])[] = [
    ["of neither kind", { schemaVersion: 2 }, /neither layers nor manifests/],
    ["of both kinds", { schemaVersion: 2, layers: [descriptor], manifests: [] }, /or both/],
    ["of version 1", { schemaVersion: 1, layers: [descriptor] }, /no JSON of schema version 2/],
    ["whose layers are no list", { schemaVersion: 2, layers: {} }, /no list of at most/],
    ["with a layer that is null", { schemaVersion: 2, layers: [null] }, /without media type/],
    [
      "with another kind of digest",
      { schemaVersion: 2, layers: [{ ...descriptor, digest: `sha512:${"0".repeat(128)}` }] },
      /without media type/,
    ],
    ["with a digest that is a path", { schemaVersion: 2, layers: [{ ...descriptor, digest: "../../x" }] }, /without media type/],
    ["with a negative size", { schemaVersion: 2, layers: [{ ...descriptor, size: -1 }] }, /without media type/],
    ["with two modules", { schemaVersion: 2, layers: [descriptor, descriptor] }, /2 modules, and nothing says which/],
    [
      "of another media type",
      { schemaVersion: 2, layers: [{ ...descriptor, mediaType: "application/vnd.cncf.helm.chart" }] },
      /media type that is read here: application\/vnd.cncf.helm/,
    ],
    [
      "of a media type that is none",
      { schemaVersion: 2, layers: [{ ...descriptor, mediaType: "a/\u001b]0;x\u0007\n" }] },
      /media type that is read here: something that is no media type$/,
    ],
    [
      "of a media type that every object has",
      { schemaVersion: 2, layers: [{ ...descriptor, mediaType: "constructor" }] },
      /media type that is read here: something that is no media type$/,
    ],
    [
      "an index for a platform that cannot become a text",
      {
        schemaVersion: 2,
        manifests: [1, 2].map(() => ({
          ...descriptor,
          mediaType: "application/vnd.oci.image.manifest.v1+json",
          platform: { os: { toString: 1 }, architecture: { toString: 1 } },
        })),
      },
      /index of 2 manifests, and none is for wasm/,
    ],
    ["without layers", { schemaVersion: 2, layers: [] }, /it has none/],
    [
      "with a layer beyond the limit",
      { schemaVersion: 2, layers: [{ ...descriptor, size: CONFIG_LIMITS.moduleBytes + 1 }] },
      /^artifact_too_large/,
    ],
  ];
  for (const [what, manifest, pattern] of cases)
    test(what, async () => {
      on.registry.tag("bad:1", manifest);
      await refuses(on.pull("bad:1"), pattern);
      assert.equal(on.registry.asked.length, 1);
    });

  test("as many entries as allowed, and one more", async () => {
    const fill = (count: number) => Array.from({ length: count }, () => ({ ...descriptor, mediaType: "text/plain" }));
    on.tagged("many:1", ...fill(OCI_LIMITS.entries - 1), on.layerOf(WASM));
    assert.equal((await on.pull("many:1")).digest, digestOf(WASM));
    on.tagged("many:1", ...fill(OCI_LIMITS.entries), on.layerOf(WASM));
    await refuses(on.pull("many:1"), /^bad_artifact: its manifest has no list of at most 128/);
  });

  test("a manifest as large as allowed, and one byte more; one that is no JSON", async () => {
    const text = JSON.stringify(manifestOf(on.layerOf(WASM)));
    const put = (content: string): void => {
      on.registry.manifests.set("large:1", { type: "", bytes: Buffer.from(content) });
    };
    put(text.padEnd(OCI_LIMITS.manifestBytes));
    assert.equal((await on.pull("large:1")).digest, digestOf(WASM));
    put(text.padEnd(OCI_LIMITS.manifestBytes + 1));
    await refuses(on.pull("large:1"), /^artifact_too_large: .* sends more than 4MiB/);
    put("<html>");
    await refuses(on.pull("large:1"), /^bad_artifact/);
  });

  test("a module that is none", async () => {
    on.tagged("text:1", on.layerOf(Buffer.from("hello")));
    await refuses(on.pull("text:1"), /^bad_artifact: what it has is no WebAssembly module/);
  });
});

describe("archives", () => {
  const image = (bytes: Uint8Array, mediaType = OCI_TAR): void => void on.tagged("image:1", on.layerOf(bytes, mediaType));

  test("torn, altered, and not what they say", async () => {
    const archive = tarOf({ "plugin.wasm": WASM });
    image(gzipOf(archive).slice(0, 30));
    await refuses(on.pull("image:1"), /^bad_artifact/);
    image(gzipOf(archive.slice(0, 520)));
    await refuses(on.pull("image:1"), /^bad_artifact: its layer ends in the middle/);
    image(archive);
    await refuses(on.pull("image:1"), /^bad_artifact: its layer is not gzip/);
    image(zstdOf(archive.slice(0, 520)), ZSTD_TAR);
    await refuses(on.pull("image:1"), /^bad_artifact: its layer ends in the middle/);
    image(gzipOf(archive), ZSTD_TAR);
    await refuses(on.pull("image:1"), /^bad_artifact: its layer is not zstd/);
    const wrong = Uint8Array.from(archive);
    wrong[0] = 0x71;
    image(gzipOf(wrong));
    await refuses(on.pull("image:1"), /^bad_artifact: its layer is no tar archive/);
    image(gzipOf(new Uint8Array(0)));
    await refuses(on.pull("image:1"), /^bad_artifact: its layer is no tar archive/);
    image(gzipOf(Buffer.concat([tarHead("plugin.wasm", 0, "2"), new Uint8Array(1024)])));
    await refuses(on.pull("image:1"), /^bad_artifact: plugin.wasm in its layer is no file/);
  });

  test("what lies behind an archive's end is not there; one block of zeros is no end", async () => {
    const [end, archive] = [tarOf({ a: WASM }), tarOf({ "plugin.wasm": WASM })];
    image(gzipOf(Buffer.concat([end, archive])));
    await refuses(on.pull("image:1"), /^bad_artifact: its layers hold no plugin.wasm/);
    image(gzipOf(Buffer.concat([end.subarray(0, -512), archive])));
    assert.equal((await on.pull("image:1")).digest, digestOf(WASM));
  });

  test("a large archive leaves the others their turns", async () => {
    const heads = Buffer.alloc(4 * 1024 * 1024, tarHead("a", 0));
    let turns = 0;
    let next = setImmediate(turn);
    function turn(): void {
      turns++;
      next = setImmediate(turn);
    }
    assert.equal(await findModule(new Uint8Array(heads), "tar"), undefined);
    clearImmediate(next);
    assert.ok(turns > 8, `${turns} turns`);
  });

  test("a layer that unpacks to as much as allowed, and to one byte more", async () => {
    const mebibyte = gzipOf(new Uint8Array(1024 * 1024));
    const head = tarHead("zeros", OCI_LIMITS.unpackedBytes);
    const bomb = (bytes: number): Uint8Array => {
      const rest = bytes - head.byteLength;
      const whole = Math.floor(rest / (1024 * 1024));
      return Buffer.concat([
        gzipOf(head),
        ...Array.from({ length: whole }, () => mebibyte),
        gzipOf(new Uint8Array(rest % (1024 * 1024))),
      ]);
    };
    image(bomb(OCI_LIMITS.unpackedBytes));
    await refuses(on.pull("image:1"), /^bad_artifact: its layer ends in the middle/);
    image(bomb(OCI_LIMITS.unpackedBytes + 1));
    await refuses(on.pull("image:1"), /^artifact_too_large: its layer unpacks to more than 128MiB/);
    image(gzipOf(tarHead("plugin.wasm", CONFIG_LIMITS.moduleBytes + 1)));
    await refuses(on.pull("image:1"), /^artifact_too_large: plugin.wasm/);
  });

  test("as many layers as are looked through, and one more", async () => {
    const empty = (): ReturnType<typeof on.layerOf> => on.layerOf(gzipOf(tarOf({ a: WASM })), OCI_TAR);
    const last = on.layerOf(gzipOf(tarOf({ "plugin.wasm": WASM })), OCI_TAR);
    const fill = (count: number) => Array.from({ length: count }, empty);
    on.tagged("image:1", last, ...fill(OCI_LIMITS.layersRead - 1));
    assert.equal((await on.pull("image:1")).digest, digestOf(WASM));
    on.tagged("image:1", last, ...fill(OCI_LIMITS.layersRead));
    await refuses(on.pull("image:1"), /^bad_artifact: its layers hold no plugin.wasm/);
  });
});
