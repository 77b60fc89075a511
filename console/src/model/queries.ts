/** What the data browser asks for: filters, orders and a limit; as wire JSON and as a hash's query. */

import { type Json, type JsonObject, parseJson, writeJson } from "./json";
import { fieldNames } from "./paths";
import { decodeList, decodeValue, encodeValue, type Fields, type Kind, type Value } from "./values";

export const OPERATORS = [
  "==",
  "!=",
  "<",
  "<=",
  ">",
  ">=",
  "in",
  "not-in",
  "array-contains",
  "array-contains-any",
] as const;
export type Operator = (typeof OPERATORS)[number];

export interface Filter {
  field: string;
  op: Operator;
  value: Value;
}

export interface Order {
  field: string;
  direction: "asc" | "desc";
}

export interface View {
  where: readonly Filter[];
  orderBy: readonly Order[];
  /** Every collection with this id, at any depth. */
  group: boolean;
}

export const EMPTY_VIEW: View = { where: [], orderBy: [], group: false };

export function takesList(op: Operator): boolean {
  return op === "in" || op === "not-in" || op === "array-contains-any";
}

/** Reads the value of a filter: an array may be one of several values, but no element of an array. */
export function operandReader(op: Operator): (tree: Json) => Value {
  return op === "in" || op === "not-in" ? decodeList : decodeValue;
}

/** With `isFull` the order is spelled out with all that the server adds, as cursors need it. */
export function encodeQuery(
  collection: string,
  view: View,
  limit: number | null,
  isFull = false,
): JsonObject {
  const query: JsonObject = { collection };
  if (view.group) query.group = true;
  const filters: Json[] = view.where.map((filter) => ({
    field: filter.field,
    op: filter.op,
    value: encodeValue(filter.value),
  }));
  if (filters.length === 1) query.where = filters[0] as Json;
  if (filters.length > 1) query.where = { and: filters };
  const orders = isFull ? fullOrder(view) : view.orderBy;
  if (orders.length > 0)
    query.order_by = orders.map(({ field, direction }) => ({ field, direction }));
  if (limit !== null) query.limit = limit;
  return query;
}

/** The values by which a cursor names the place of a document in the view's full order. */
export function cutValues(view: View, document: { path: string; fields: Fields }): Json[] {
  return fullOrder(view).map(({ field }) => cursorValue(field, document));
}

const NAME = "__name__";
const INEQUALITIES: readonly Operator[] = ["<", "<=", ">", ">=", "!=", "not-in"];

/** The order with all that the server adds: fields of inequalities by name, then the name. */
export function fullOrder({ where, orderBy }: Pick<View, "where" | "orderBy">): Order[] {
  const orders = [...orderBy];
  const direction = orders.at(-1)?.direction ?? "asc";
  const unequal = where.filter(({ op }) => INEQUALITIES.includes(op)).map(({ field }) => field);
  for (const field of [...unequal.filter((one) => one !== NAME).sort(), NAME])
    if (!orders.some((order) => order.field === field)) orders.push({ field, direction });
  return orders;
}

export function cursorValue(
  field: string,
  { path, fields }: { path: string; fields: Fields },
): Json {
  if (field === NAME) return { $ref: path };
  const [first, ...rest] = fieldNames(field);
  let value = fields.get(first ?? "");
  for (const name of rest) value = value?.kind === "map" ? value.fields.get(name) : undefined;
  return value === undefined ? null : encodeValue(value);
}

/** `where=["age",">",18]&order=age:desc`: short enough to share, exact in its types. */
export function encodeView(view: View, parameters: URLSearchParams): void {
  for (const { field, op, value } of view.where)
    parameters.append("where", writeJson([field, op, encodeValue(value)]));
  for (const { field, direction } of view.orderBy)
    parameters.append("order", `${field}:${direction}`);
  if (view.group) parameters.set("group", "1");
}

/** Reads a view; parts that make no sense are left out, as the hash may come from anywhere. */
export function decodeView(parameters: URLSearchParams): View {
  const where: Filter[] = [];
  for (const text of parameters.getAll("where")) {
    try {
      const { tree } = parseJson(text);
      if (!Array.isArray(tree) || tree.length !== 3) continue;
      const [field, op, value] = tree as [Json, Json, Json];
      const known = OPERATORS.find((one) => one === op);
      if (typeof field !== "string" || known === undefined) continue;
      where.push({ field, op: known, value: operandReader(known)(value) });
    } catch {
      // A damaged link shows the collection without that filter.
    }
  }
  const orderBy: Order[] = [];
  for (const text of parameters.getAll("order")) {
    const found = /^(.+):(asc|desc)$/s.exec(text);
    if (found !== null)
      orderBy.push({ field: found[1] as string, direction: found[2] as Order["direction"] });
  }
  return { where, orderBy, group: parameters.get("group") === "1" };
}

/** The type that a text most likely means in a filter, when none was chosen. */
export function guessKind(text: string): Kind {
  const bare = text.trim();
  if (/^-?\d{1,19}$/.test(bare)) return "integer";
  if (/^-?(?:\d+\.\d*|\.\d+|\d+(?:\.\d+)?[eE][+-]?\d+)$/.test(bare)) return "double";
  if (bare === "true" || bare === "false") return "boolean";
  if (bare === "null") return "null";
  if (/^\d{4}-\d\d-\d\dT\d\d:\d\d/.test(bare)) return "timestamp";
  if (bare.startsWith("[")) return "array";
  if (bare.startsWith("{")) return "map";
  return "string";
}

/** Types whose input looks the same as a string's, so that typing is not disturbed. */
export function scalarKind(text: string): Kind {
  const kind = guessKind(text);
  return kind === "integer" || kind === "double" || kind === "timestamp" ? kind : "string";
}
