import { describe, expect, test } from "vitest";
import { JsonError, parseJson, writeJson } from "./json";
import {
  decodeFields,
  decodeValue,
  doubleText,
  encodeFields,
  encodeValue,
  InvalidValue,
  isSame,
  normalTimestamp,
  type Value,
} from "./values";

function fromText(text: string): Value {
  return decodeValue(parseJson(text).tree);
}

function roundTrip(text: string): string {
  return writeJson(encodeValue(fromText(text)));
}

describe("native JSON", () => {
  test.each([
    ["null", "null"],
    ["true", "true"],
    ["3", "3"],
    ["3.0", '{"$double":3}'],
    ["1e2", '{"$double":100}'],
    ["3.5", "3.5"],
    ['{"$double":3}', '{"$double":3}'],
    ['{"$double":-0.0}', '{"$double":"-0"}'],
    ["-0.0", '{"$double":"-0"}'],
    ['{"$geo":[-0.0,1]}', '{"$geo":["-0",1]}'],
    ['{"$double":"NaN"}', '{"$double":"NaN"}'],
    ['{"$double":"-Infinity"}', '{"$double":"-Infinity"}'],
    ["9007199254740991", "9007199254740991"],
    ["9007199254740993", '{"$int":"9007199254740993"}'],
    ["-9223372036854775808", '{"$int":"-9223372036854775808"}'],
    ['{"$int":"5"}', "5"],
    ['{"$timestamp":"2026-11-22T18:00:00+01:00"}', '{"$timestamp":"2026-11-22T17:00:00.000000Z"}'],
    ['{"$bytes":"AAE="}', '{"$bytes":"AAE="}'],
    ['{"$ref":"users/ada"}', '{"$ref":"users/ada"}'],
    ['{"$geo":[52.5,13]}', '{"$geo":[52.5,13]}'],
    ['{"$vector":[1,2.5]}', '{"$vector":[1,2.5]}'],
    ['{"$$ref":"plain"}', '{"$$ref":"plain"}'],
    ['{"$$$x":1,"a":[{"b":2}]}', '{"$$$x":1,"a":[{"b":2}]}'],
    ['{"__proto_":{"x":1}}', '{"__proto_":{"x":1}}'],
  ])("%s becomes %s and stays so", (text, expected) => {
    expect(roundTrip(text)).toBe(expected);
    expect(roundTrip(expected)).toBe(expected);
    // What the browser's own parser makes of an answer decodes to the same value.
    expect(isSame(decodeValue(JSON.parse(expected)), fromText(expected))).toBe(true);
  });

  test.each([
    ["9223372036854775808", "64 bits"],
    ["1e999", "too large"],
    ['{"$bytes":"!"}', "base64"],
    ['{"$ref":"users"}', "document path"],
    ['{"$geo":[91,0]}', "latitude"],
    ['{"$timestamp":"2026-02-30T00:00:00Z"}', "RFC 3339"],
    ['{"$nope":1}', "not known"],
    ['{"$ref":"users/ada","b":1}', "one more"],
    ["[[1]]", "array"],
    ['{"__name__":1}', "reserved"],
    ['{"":1}', "needs a name"],
  ])("%s is refused: %s", (text, message) => {
    expect(() => fromText(text)).toThrow(message);
  });

  test("integers and doubles differ even when they are equal", () => {
    expect(isSame(fromText("3"), fromText("3.0"))).toBe(false);
    expect(isSame(fromText('{"$double":"NaN"}'), fromText('{"$double":"NaN"}'))).toBe(true);
    expect(doubleText(3)).toBe("3.0");
    expect(doubleText(1e21)).toBe("1e+21");
    expect(doubleText(-0)).toBe("-0.0");
  });

  test("literals are for people and read back the same", () => {
    for (const text of ["3.0", "-0.0", "1e+21", "[1, 1.0]", '{"$double": "NaN"}']) {
      expect(writeJson(encodeValue(fromText(text), true), 1)).toBe(text);
      expect(isSame(fromText(writeJson(encodeValue(fromText(text), true))), fromText(text))).toBe(
        true,
      );
    }
  });

  test("an error names the place, and the place has an offset", () => {
    const text = '{"a": {"b": [1, {"$geo": [0, 999]}]}}';
    const { tree, offsets } = parseJson(text);
    try {
      decodeFields(tree);
      expect.unreachable();
    } catch (error) {
      expect((error as InvalidValue).at).toBe("a.b[1]");
      expect(offsets.get("a.b[1]")).toBe(text.indexOf('{"$geo"'));
    }
  });

  test("names that JavaScript knows are plain names", () => {
    const fields = decodeFields(JSON.parse('{"constructor":1,"toString":{"valueOf":2}}'));
    expect([...fields.keys()]).toEqual(["constructor", "toString"]);
    expect(writeJson(encodeFields(fields))).toBe('{"constructor":1,"toString":{"valueOf":2}}');
    expect(parseJson('{"__proto__":{"polluted":1}}').tree).toHaveProperty("__proto__");
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });

  test("times keep microseconds and drop what is finer", () => {
    expect(normalTimestamp("2026-11-22T17:00:00.123456789Z")).toBe("2026-11-22T17:00:00.123456Z");
    expect(normalTimestamp("0099-01-01T00:00:00Z")).toBe("0099-01-01T00:00:00.000000Z");
    expect(() => normalTimestamp("yesterday")).toThrow(InvalidValue);
  });
});

describe("JSON text", () => {
  test.each([
    ['{"a":1', "comma", 6],
    ['{"a":1,"a":2}', "twice", 7],
    ["[1,]", "value", 3],
    ["{a:1}", "double quotes", 1],
    ['"abc', "not closed", 0],
    ["1 2", "nothing more", 2],
    ["", "ends too early", 0],
  ])("%s fails with %s at %d", (text, message, offset) => {
    try {
      parseJson(text);
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(JsonError);
      expect((error as JsonError).message).toContain(message);
      expect((error as JsonError).offset).toBe(offset);
    }
  });

  test("deep nesting is refused and does not end the stack", () => {
    expect(() => parseJson("[".repeat(100_000))).toThrow("too deep");
  });

  test("pretty text keeps tagged values on one line", () => {
    const tree = parseJson('{"a":{"$geo":[1,2]},"b":[1,2],"c":{"d":{}}}').tree;
    expect(writeJson(tree, 2)).toBe(
      '{\n  "a": {"$geo": [1, 2]},\n  "b": [1, 2],\n  "c": {\n    "d": {}\n  }\n}',
    );
  });
});
