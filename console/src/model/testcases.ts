/** A request of the playground as a test in the YAML of `baas rules test`. Pure. */

import type { Json, JsonObject } from "./json";
import { NumberLiteral } from "./json";

export interface TestCase {
  name: string;
  expect: "allow" | "deny";
  service: "documents" | "objects";
  database: string;
  method: string;
  /** A document, an object with its bucket, a collection, or a prefix with its bucket. */
  path: string;
  caller: { uid: string; claims: JsonObject } | null;
  /** Request time; null: the file's. */
  time: string | null;
  /** What is stored, by path; null: nothing is there. */
  stored: readonly (readonly [string, JsonObject | null])[];
  /** Documents that rules of objects look up. */
  documents: readonly (readonly [string, JsonObject | null])[];
  data: JsonObject | null;
  query: JsonObject | null;
  /** The writes of a commit, if it is one of several, in place of the method. */
  batch: readonly { method: string; path: string; data: JsonObject | null }[];
}

const START = "tests:\n";
// What YAML takes in no text as it is, or reads as the end of a line.
const ESCAPED = /[\u007f-\u009f\u2028\u2029\ufeff\ufffe\uffff]/g;

/** JSON is YAML: values as one line, in which nothing can end early. */
export function yamlOf(tree: Json): string {
  if (tree instanceof NumberLiteral) return tree.text;
  if (Array.isArray(tree)) return `[${tree.map(yamlOf).join(", ")}]`;
  if (tree !== null && typeof tree === "object") {
    const vector = tree.$vector;
    if (Object.keys(tree).length === 1 && Array.isArray(vector)) return yamlOf(vector);
    const members = Object.entries(tree).map(
      ([name, value]) => `${yamlOf(name)}: ${yamlOf(value)}`,
    );
    return `{${members.join(", ")}}`;
  }
  return JSON.stringify(tree).replace(
    ESCAPED,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** The filters, orders and bounds of a query's JSON, as a test has them. */
function queryLines(query: JsonObject): string[] {
  const lines: string[] = [];
  if (query.where !== undefined) {
    const where = filterOf(query.where as JsonObject);
    lines.push(`where: ${yamlOf(isAll(where) ? where.and : [where])}`);
  }
  if (Array.isArray(query.order_by))
    lines.push(
      `order_by: ${yamlOf(
        query.order_by.map((order) => {
          const { field, direction } = order as JsonObject;
          return [field, direction ?? "asc"] as Json[];
        }),
      )}`,
    );
  if (query.limit !== undefined) lines.push(`limit: ${yamlOf(query.limit)}`);
  if (query.group === true) lines.push("group: true");
  return lines;
}

function isAll(tree: Json): tree is { and: Json[] } {
  return tree !== null && typeof tree === "object" && "and" in tree && Array.isArray(tree.and);
}

function filterOf(tree: JsonObject): Json {
  for (const name of ["and", "or"] as const) {
    const inner = tree[name];
    if (Array.isArray(inner))
      return { [name]: inner.map((one) => filterOf(one as JsonObject)) } as JsonObject;
  }
  return [tree.field as Json, tree.op as Json, tree.value as Json];
}

function linesOf(test: TestCase): string[] {
  const lines = [`name: ${yamlOf(test.name)}`];
  if (test.service === "objects") lines.push("service: storage");
  else if (test.database !== "(default)") lines.push(`database: ${yamlOf(test.database)}`);
  if (test.time !== null) lines.push(`time: ${yamlOf(test.time)}`);
  const stored = test.service === "objects" ? "objects" : "documents";
  for (const [key, items] of [
    [stored, test.stored],
    ["documents", test.documents],
  ] as const) {
    if (items.length === 0) continue;
    lines.push(`${key}:`, ...items.map(([path, tree]) => `  ${yamlOf(path)}: ${yamlOf(tree)}`));
  }
  if (test.caller !== null) {
    const { uid, claims } = test.caller;
    const token = Object.keys(claims).length === 0 ? "" : `, token: ${yamlOf(claims)}`;
    lines.push(`as: {uid: ${yamlOf(uid)}${token}}`);
  }
  if (test.batch.length > 0) return [...lines, ...batchLines(test), `expect: ${test.expect}`];
  lines.push(`${test.method}: ${yamlOf(test.path)}`);
  if (test.data !== null) lines.push(`data: ${yamlOf(test.data)}`);
  if (test.query !== null) lines.push(...queryLines(test.query));
  return [...lines, `expect: ${test.expect}`];
}

function batchLines({ batch }: TestCase): string[] {
  const writes = batch.map(({ method, path, data }) =>
    yamlOf({ [method]: path, ...(data === null ? {} : { data }) }),
  );
  return ["batch:", ...writes.map((write) => `  - ${write}`)];
}

/** The file with one more test at the end of its `tests`. */
export function withTestCase(file: string, test: TestCase): string {
  const source = file.trim() === "" ? START : file.endsWith("\n") ? file : `${file}\n`;
  const lines = source.split("\n").slice(0, -1);
  let start = lines.findIndex((line) => /^tests:\s*(?:#.*|\[\s*\])?$/.test(line));
  if (start < 0) {
    lines.push("tests:");
    start = lines.length - 1;
  } else if (/\[/.test(lines[start] as string)) lines[start] = "tests:";
  let end = start + 1;
  while (end < lines.length && !/^[^\s#-]/.test(lines[end] as string)) end += 1;
  while (end > start + 1 && (lines[end - 1] as string).trim() === "") end -= 1;
  const first = lines.slice(start + 1, end).find((line) => /^\s*- /.test(line));
  const indent = first === undefined ? "  " : (/^\s*/.exec(first)?.[0] ?? "");
  const made = linesOf(test).map((line, at) => `${indent}${at === 0 ? "- " : "  "}${line}`);
  const gap = end > start + 1 ? [""] : [];
  return `${[...lines.slice(0, end), ...gap, ...made, ...lines.slice(end)].join("\n")}\n`;
}
