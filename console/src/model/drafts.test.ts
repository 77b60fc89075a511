import { describe, expect, test } from "vitest";
import { changesBetween, mergeFields, valueAt, withName, withoutValue, withValue } from "./drafts";
import { parseJson, writeJson } from "./json";
import { decodeFields, encodeFields, type Fields, type Value } from "./values";

function fields(text: string): Fields {
  return decodeFields(parseJson(text).tree);
}

function text(value: Fields): string {
  return writeJson(encodeFields(value));
}

const ONE: Value = { kind: "integer", value: 1n };
const BASE = fields('{"a":{"b":[{"c":1},2]},"d":"x"}');

describe("edits", () => {
  test("reach into maps and arrays and leave the original as it was", () => {
    const before = text(BASE);
    expect(text(withValue(BASE, ["a", "b", 0, "c"], { kind: "null" }))).toBe(
      '{"a":{"b":[{"c":null},2]},"d":"x"}',
    );
    expect(text(withValue(BASE, ["a", "b", 2], ONE))).toBe('{"a":{"b":[{"c":1},2,1]},"d":"x"}');
    expect(text(withoutValue(BASE, ["a", "b", 0]))).toBe('{"a":{"b":[2]},"d":"x"}');
    expect(text(withoutValue(BASE, ["d"]))).toBe('{"a":{"b":[{"c":1},2]}}');
    expect(text(withName(BASE, ["a", "b"], "z"))).toBe('{"a":{"z":[{"c":1},2]},"d":"x"}');
    expect(text(withName(BASE, ["a"], "A"))).toBe('{"A":{"b":[{"c":1},2]},"d":"x"}');
    expect(valueAt(BASE, ["a", "b", 1])).toEqual({ kind: "integer", value: 2n });
    expect(valueAt(BASE, ["d", "e"])).toBeUndefined();
    expect(text(BASE)).toBe(before);
  });

  test("are found by name", () => {
    const after = fields('{"d":"x","a":{"b":[]},"n":1}');
    expect(changesBetween(BASE, after).map((item) => item.name)).toEqual(["a", "n"]);
    expect(changesBetween(fields('{"n":1}'), fields('{"n":1.0}'))).toHaveLength(1);
  });
});

describe("the merge with a newer version", () => {
  const base = fields('{"a":1,"b":1,"c":1,"d":1}');

  test("keeps my changes and takes theirs", () => {
    const merge = mergeFields(
      base,
      fields('{"a":2,"b":1,"c":1}'),
      fields('{"a":1,"b":3,"c":1,"d":1,"e":5}'),
    );
    expect(JSON.parse(text(merge.fields))).toEqual({ a: 2, b: 3, c: 1, e: 5 });
    expect(merge.conflicts).toEqual([]);
  });

  test("names what both changed, and keeps mine", () => {
    const merge = mergeFields(
      base,
      fields('{"a":2,"b":7,"c":1,"d":1}'),
      fields('{"a":3,"b":7,"c":1,"d":1}'),
    );
    expect(merge.conflicts).toEqual(["a"]);
    expect(JSON.parse(text(merge.fields))).toEqual({ a: 2, b: 7, c: 1, d: 1 });
  });
});
