import { describe, expect, test } from "vitest";
import { writeJson } from "./json";
import {
  collectionOfSchema,
  faultOfSchema,
  isSameSchemas,
  NEW_SCHEMA,
  readSchemas,
  schemaText,
  textsOf,
} from "./schemas";

describe("schemas as texts", () => {
  test("numbers stay as they were written", () => {
    const text = '{"x-collection":"a","maximum":9223372036854775807,"minimum":1.0}';
    expect(readSchemas([schemaText(text)]).map((one) => writeJson(one))).toEqual([text]);
    const again = textsOf(readSchemas([schemaText(text)]));
    expect(again[0]?.text).toContain("9223372036854775807");
    expect(isSameSchemas(again, textsOf(readSchemas(again)))).toBe(true);
    expect(isSameSchemas(again, [])).toBe(false);
  });

  test.each([
    [NEW_SCHEMA, null],
    ["[]", { offset: 0, message: "must be a JSON object" }],
    ['{"x-collection": 1}', { offset: 0, message: expect.stringContaining("x-collection") }],
    ['{"a": }', { offset: 6, message: expect.any(String) }],
  ])("faults have their place: %s", (text, fault) => expect(faultOfSchema(text)).toEqual(fault));

  test("the collection is read from a text that is not whole yet", () => {
    expect(collectionOfSchema('{"x-collection": "orgs/{org}/\\u006d", ')).toBe("orgs/{org}/m");
    expect(collectionOfSchema("{")).toBe("");
    expect(collectionOfSchema('{"x-collection": "\\q"')).toBe("");
  });
});
