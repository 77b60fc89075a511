/** The vectors that server, SDK and console share. */

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { type Json, parseJson, writeJson } from "./json";
import { faultOfDocumentPath, faultOfPath, fieldSegment, isCollection } from "./paths";
import { decodeValue, encodeValue } from "./values";

interface Vector {
  name: string;
  type: string;
  json: Json;
  reads?: Json[];
}

function load(name: string): unknown {
  const address = new URL(`../../../tests/conformance/${name}.json`, import.meta.url);
  return JSON.parse(readFileSync(address, "utf-8"));
}

const values = load("values") as { values: Vector[]; same: Vector[]; refused: Vector[] };
const paths = load("paths") as Record<string, string[]> & {
  fields: { names: string[]; text: string; written?: string }[];
};

describe("shared vectors of values", () => {
  test.each(values.values)("$name", ({ type, json, reads = [] }) => {
    expect(decodeValue(json).kind).toBe(type.replace("geo_point", "geo"));
    for (const form of [json, ...reads]) {
      expect(JSON.parse(writeJson(encodeValue(decodeValue(form))))).toEqual(json);
      const parsed = parseJson(JSON.stringify(form)).tree;
      expect(JSON.parse(writeJson(encodeValue(decodeValue(parsed))))).toEqual(json);
    }
  });

  test.each(values.same)("$name is read as the same", ({ json, reads = [] }) => {
    for (const form of reads)
      expect(JSON.parse(writeJson(encodeValue(decodeValue(form))))).toEqual(json);
  });

  test.each(values.refused)("$name is refused", ({ json }) => {
    expect(() => decodeValue(json)).toThrow();
  });
});

describe("shared vectors of paths", () => {
  test.each(paths.documents ?? [])("%j is a document", (text) => {
    expect(faultOfDocumentPath(text)).toBeNull();
  });

  test.each(paths.no_documents ?? [])("%j is no document", (text) => {
    expect(faultOfDocumentPath(text)).not.toBeNull();
  });

  test.each(paths.collections ?? [])("%j is a collection", (text) => {
    const segments = text.split("/");
    expect(isCollection(segments) && faultOfPath(segments) === null).toBe(true);
  });

  test.each(paths.no_collections ?? [])("%j is no collection", (text) => {
    const segments = text.split("/");
    expect(isCollection(segments) && faultOfPath(segments) === null).toBe(false);
  });

  test.each(paths.fields)("$text is written as the server reads it", ({ names, text, written }) => {
    // `__name__` stands for the document itself; no field has that name.
    if (text !== "__name__") expect(names.map(fieldSegment).join(".")).toBe(written ?? text);
  });
});
