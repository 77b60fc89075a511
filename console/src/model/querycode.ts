/** A query as code to take along: for the Python SDK, and for curl. */

import { type Asked, bodyOf, type Shows, showsOf } from "./asked";
import { type Json, type JsonObject, writeJson } from "./json";
import { type Operator, operandReader } from "./queries";
import { decodeValue, doubleText, type Value } from "./values";

export interface Place {
  /** Of the server, such as `https://baas.example.com`. */
  url: string;
  project: string;
  database: string;
}

const USES: Readonly<Record<Shows, string>> = {
  documents: "for document in query.stream():\n    print(document.id, document.to_dict())",
  numbers: "for row in query.get():\n    print({one.alias: one.value for one in row})",
  groups: "for group in query.get():\n    print(group.values, group.results)",
};
const KEY = "BAAS_SECRET_KEY";

export function curlOf(asked: Asked, place: Place): string {
  const body = writeJson(bodyOf(asked));
  return [
    `curl -sS ${quoted(addressOf(place, asked))}`,
    `  -H "Authorization: Bearer $${KEY}"`,
    "  -H 'Content-Type: application/json'",
    `  --data-binary ${quoted(body)}`,
  ].join(" \\\n");
}

function addressOf({ url, project, database }: Place, asked: Asked): string {
  const verb = showsOf(asked) === "documents" ? "query" : "aggregate";
  const names = `${encodeURIComponent(project)}/databases/${encodeURIComponent(database)}`;
  return `${url}/api/v1/projects/${names}/documents:${verb}`;
}

/** One word of a POSIX shell, whatever it holds. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'"'"'`)}'`;
}

export function pythonOf(asked: Asked, place: Place): string {
  // The SDK's groups span the whole database.
  if (asked.query.group === true && String(asked.query.collection).includes("/"))
    return pythonOverHttp(asked, place);
  const names = new Set<string>(["Client"]);
  const modules = new Set<string>();
  const chain = chainOf(asked, names, modules);
  const database = place.database === "(default)" ? "" : `, database=${literal(place.database)}`;
  const made = `Client(\n    ${literal(place.url)}, project=${literal(place.project)}${database}, api_key=os.environ["${KEY}"]\n)`;
  const use = USES[showsOf(asked)];
  return [
    ["import os", ...[...modules].sort()].join("\n"),
    `from baas_sdk import ${[...names].sort().join(", ")}`,
    `client = ${made}\nquery = (\n${chain.map((part) => `    ${part}`).join("\n")}\n)\n${use}`,
    "",
  ].join("\n\n");
}

function chainOf(asked: Asked, names: Set<string>, modules: Set<string>): string[] {
  const { query, aggregates, groupBy } = asked;
  const make = query.group === true ? "collection_group" : "collection";
  const chain = [`client.${make}(${literal(String(query.collection))})`];
  if (query.where !== undefined)
    chain.push(`.where(filter=${filterOf(query.where as JsonObject, names, modules)})`);
  if (query.search !== undefined) {
    const { text, fields } = query.search as { text: string; fields: string[] };
    chain.push(`.search(${literal(text)}, fields=[${fields.map(literal).join(", ")}])`);
  }
  if (query.near !== undefined) {
    const { field, center, radius_meters: radius } = query.near as JsonObject;
    const place = pythonValue(decodeValue(center as Json), names, modules);
    const within = radius === undefined ? "" : `, radius_meters=${radius}`;
    chain.push(`.near(${literal(String(field))}, ${place}${within})`);
  }
  for (const { field, direction } of (query.order_by ?? []) as JsonObject[]) {
    if (direction === "desc") names.add("Query");
    const way = direction === "desc" ? ", Query.DESCENDING" : "";
    chain.push(`.order_by(${literal(String(field))}${way})`);
  }
  for (const [side, included, apart] of [
    ["start", "start_at", "start_after"],
    ["end", "end_at", "end_before"],
  ] as const) {
    const cursor = query[side] as { values: Json[]; before: boolean } | undefined;
    if (cursor === undefined) continue;
    const values = cursor.values.map((item) => pythonValue(decodeValue(item), names, modules));
    const method = cursor.before === (side === "start") ? included : apart;
    chain.push(`.${method}([${values.join(", ")}])`);
  }
  if (query.select !== undefined)
    chain.push(`.select([${(query.select as string[]).map(literal).join(", ")}])`);
  if (query.limit !== undefined) chain.push(`.limit(${query.limit})`);
  if (groupBy.length > 0)
    chain.push(
      `.${aggregates.length > 0 ? "group_by" : "distinct"}(${groupBy.map(literal).join(", ")})`,
    );
  for (const { op, field } of aggregates)
    chain.push(
      op === "count" ? ".count()" : `.${op === "average" ? "avg" : op}(${literal(String(field))})`,
    );
  return chain;
}

function filterOf(tree: JsonObject, names: Set<string>, modules: Set<string>): string {
  for (const [word, name] of [
    ["and", "And"],
    ["or", "Or"],
  ] as const)
    if (tree[word] !== undefined) {
      names.add(name);
      const items = (tree[word] as JsonObject[]).map((item) => filterOf(item, names, modules));
      return `${name}([${items.join(", ")}])`;
    }
  names.add("FieldFilter");
  const read = operandReader(tree.op as Operator);
  const value = pythonValue(read(tree.value as Json), names, modules);
  return `FieldFilter(${literal(String(tree.field))}, ${literal(String(tree.op))}, ${value})`;
}

/** JSON's string literals are Python's, too. */
function literal(text: string): string {
  return JSON.stringify(text);
}

function pythonValue(value: Value, names: Set<string>, modules: Set<string>): string {
  const inner = (item: Value) => pythonValue(item, names, modules);
  switch (value.kind) {
    case "null":
      return "None";
    case "boolean":
      return value.value ? "True" : "False";
    case "integer":
      return String(value.value);
    case "double":
      return Number.isFinite(value.value)
        ? doubleText(value.value)
        : `float(${literal(String(value.value))})`;
    case "timestamp":
      modules.add("from datetime import datetime");
      return `datetime.fromisoformat(${literal(value.value.replace(/Z$/, "+00:00"))})`;
    case "string":
      return literal(value.value);
    case "bytes":
      modules.add("from base64 import b64decode");
      return `b64decode(${literal(value.value)})`;
    case "reference":
      return `client.document(${literal(value.value)})`;
    case "geo":
      names.add("GeoPoint");
      return `GeoPoint(${doubleText(value.latitude)}, ${doubleText(value.longitude)})`;
    case "vector":
      names.add("Vector");
      return `Vector([${value.values.map(doubleText).join(", ")}])`;
    case "array":
      return `[${value.values.map(inner).join(", ")}]`;
    case "map":
      return `{${[...value.fields].map(([name, item]) => `${literal(name)}: ${inner(item)}`).join(", ")}}`;
  }
}

function pythonOverHttp(asked: Asked, place: Place): string {
  const body = writeJson(bodyOf(asked));
  return `import os

import httpx

answer = httpx.post(
    ${literal(addressOf(place, asked))},
    headers={
        "Authorization": f"Bearer {os.environ['${KEY}']}",
        "Content-Type": "application/json",
    },
    content=${literal(body)}.encode(),
)
print(answer.raise_for_status().json())
`;
}
