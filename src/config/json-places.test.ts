// Invariant: whatever JSON says, and however it is spaced, each value and each key is found where it was written.
import { expect, test } from "bun:test";
import { CONFIG_LIMITS } from "../core/limits.ts";
import { SeededRng } from "../core/rng.ts";
import { JsonPlaces } from "./json-places.ts";
import { parseResources } from "./parse.ts";

type Step = string | number;
interface Written {
  readonly path: readonly Step[];
  readonly keyAt: number;
  readonly at: number;
  readonly isNull: boolean;
}

const TEXTS = ["", "a", 'say "hi"', "\\", '\\\\"', "{", "}]", "a:b", "\u00e4\n", "null", "x".repeat(50)];
const SCALARS: readonly (number | boolean | null)[] = [0, -1.5e9, true, false, null];

/** Prints something random, and remembers where. */
class Printer {
  text = "";
  readonly written: Written[] = [];

  constructor(readonly rng: SeededRng) {}

  space(): void {
    for (let i = this.rng.below(3); i > 0; i--) this.text += [" ", "\n", "\t", "\r\n"][this.rng.below(4)];
  }

  value(path: readonly Step[], keyAt: number, depth: number): void {
    const at = this.text.length;
    const kind = this.rng.below(depth > 4 ? 2 : 4);
    const scalar = SCALARS[this.rng.below(SCALARS.length)] ?? null;
    this.written.push({ path, keyAt, at, isNull: kind === 0 && scalar === null });
    if (kind === 0) this.text += JSON.stringify(scalar);
    else if (kind === 1) this.text += JSON.stringify(TEXTS[this.rng.below(TEXTS.length)]);
    else this.container(path, kind === 2, depth);
  }

  container(path: readonly Step[], isList: boolean, depth: number): void {
    this.text += isList ? "[" : "{";
    this.space();
    const count = this.rng.below(5);
    for (let i = 0; i < count; i++) {
      if (i > 0) this.text += ",";
      this.space();
      const step = isList ? i : `${i}${TEXTS[this.rng.below(TEXTS.length)]}`;
      const keyAt = this.text.length;
      if (!isList) {
        this.text += JSON.stringify(step);
        this.space();
        this.text += ":";
        this.space();
      }
      this.value([...path, step], isList ? -1 : keyAt, depth + 1);
      this.space();
    }
    this.text += isList ? "]" : "}";
  }
}

test("2,000 random texts", () => {
  const rng = new SeededRng(7);
  for (let i = 0; i < 2_000; i++) {
    const printer = new Printer(rng);
    printer.space();
    const root = printer.text.length;
    printer.container([], false, 0);
    JSON.parse(printer.text);
    const places = new JsonPlaces(printer.text);
    expect(places.offsetOf([], false)).toBe(root);
    for (const { path, keyAt, at, isNull } of printer.written) {
      expect(places.offsetOf(path, false)).toBe(isNull && keyAt >= 0 ? keyAt : at);
      expect(places.offsetOf(path, true)).toBe(keyAt >= 0 ? keyAt : at);
      // What is not there stands where its nearest parent does.
      for (const gone of ["gone", 99]) expect(places.offsetOf([...path, gone], false)).toBe(places.offsetOf(path, false));
    }
  }
});

test("issues have their places also in JSON with more in it than the YAML reader takes", () => {
  const rules = `[${"0,".repeat(CONFIG_LIMITS.yamlMarks)}0]`;
  const spec = `{\n"gateways": ["g"],\n"rules": ${rules},\n  "rulez": 1}`;
  const { issues } = parseResources(
    `{"apiVersion": "selvedge.dev/v1", "kind": "Route", "metadata": {"name": "r"}, "spec": ${spec}}`,
    { file: "f" },
  );
  expect(issues.map(({ path, line, column }) => [path, line, column])).toEqual([
    ["spec.rules", 3, 10],
    ["spec.rulez", 4, 3],
  ]);
});
