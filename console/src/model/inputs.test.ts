import { describe, expect, test } from "vitest";
import { convertText, previewOfValue, textOfValue, valueOfText } from "./inputs";
import { parseJson } from "./json";
import { decodeValue, isSame, type Kind } from "./values";

const SAMPLES = [
  "null",
  "true",
  "7",
  "7.0",
  "9007199254740993",
  '{"$double":"NaN"}',
  "-0.0",
  '"  text\\n"',
  '{"$timestamp":"2026-11-22T17:00:00.123456Z"}',
  '{"$bytes":"AAE="}',
  '{"$ref":"users/ada"}',
  '{"$geo":[48.25,-16.5]}',
  '{"$vector":[1,0.5]}',
  '[1,1.0,{"a":null}]',
  '{"a":{"$$x":1}}',
];

describe("a value and its text", () => {
  test.each(SAMPLES)("%s comes back from its text", (sample) => {
    const value = decodeValue(parseJson(sample).tree);
    expect(isSame(valueOfText(value.kind, textOfValue(value)), value)).toBe(true);
    expect(previewOfValue(value)).not.toBe("");
  });

  test.each<[Kind, string, string]>([
    ["integer", "1.5", "whole number"],
    ["integer", "9223372036854775808", "64 bits"],
    ["double", "one", "number"],
    ["boolean", "yes", "true or false"],
    ["timestamp", "today", "RFC 3339"],
    ["geo", "91, 0", "latitude"],
    ["geo", "1", "latitude, longitude"],
    ["reference", "users", "document path"],
    ["array", "{}", "JSON array"],
    ["map", "[1]", "JSON object"],
    ["map", "{", "must be JSON"],
    ["array", "[[1]]", "cannot be stored: an array cannot hold an array directly"],
  ])("%s refuses %s", (kind, text, message) => {
    expect(() => valueOfText(kind, text)).toThrow(message);
  });

  test("another type starts from what the text can give", () => {
    expect(convertText("3.0", "double", "integer")).toBe("3");
    expect(convertText("true", "string", "boolean")).toBe("true");
    expect(convertText("{}", "map", "string")).toBe("");
    expect(convertText("abc", "string", "reference")).toBe("abc");
  });

  test("a long array is cut short in a preview", () => {
    const value = decodeValue(parseJson("[1,2,3,4,5,6]").tree);
    expect(previewOfValue(value)).toBe("[1, 2, 3, 4, … 2 more]");
  });
});
