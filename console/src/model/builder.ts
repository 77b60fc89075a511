/** A query as a person builds it: texts that need not be right yet, and the wire's JSON of it. */

import { KIND_HINTS, textOfValue, valueOfText } from "./inputs";
import type { Json, JsonObject } from "./json";
import { writeJson } from "./json";
import { OPERATORS, type Operator, type Order, takesList } from "./queries";
import { decodeValue, encodeValue, InvalidValue, type Kind } from "./values";

export interface FilterDraft {
  kind: "filter";
  field: string;
  op: Operator;
  type: Kind;
  text: string;
  /** The type was chosen; else it is guessed from the text. */
  chosen: boolean;
}

export interface GroupDraft {
  kind: "and" | "or";
  items: readonly ClauseDraft[];
}

export type ClauseDraft = FilterDraft | GroupDraft;

export const AGGREGATES = ["count", "sum", "average"] as const;

export interface AggregateDraft {
  op: (typeof AGGREGATES)[number];
  field: string;
}

export interface QueryDraft {
  collection: string;
  group: boolean;
  where: GroupDraft;
  orders: readonly Order[];
  limit: string;
  /** Field paths between commas; empty: whole documents. */
  select: string;
  /** Numbers instead of documents, where there are any. */
  aggregates: readonly AggregateDraft[];
}

export const EMPTY_FILTER: FilterDraft = {
  kind: "filter",
  field: "",
  op: "==",
  type: "string",
  text: "",
  chosen: false,
};

export const EMPTY_QUERY: QueryDraft = {
  collection: "",
  group: false,
  where: { kind: "and", items: [] },
  orders: [],
  limit: "",
  select: "",
  aggregates: [],
};

/** What is asked of the server: a query, and the numbers wanted of it. */
export interface Asked {
  query: JsonObject;
  aggregates: JsonObject[];
}

/** Throws Error that tells a person what is missing or wrong, and where. */
export function encodeDraft(draft: QueryDraft): Asked {
  const collection = draft.collection.trim().replace(/^\/+|\/+$/g, "");
  if (collection === "") throw new Error("Name a collection, such as cities or users/ada/orders");
  const query: JsonObject = { collection };
  if (draft.group) query.group = true;
  const where = encodeClause(draft.where);
  if (where !== null) query.where = where;
  const orders = draft.orders.map(({ field, direction }) => {
    if (field.trim() === "") throw new Error("Name the field of each order, or remove the order");
    return { field: field.trim(), direction };
  });
  if (orders.length > 0) query.order_by = orders;
  const limit = draft.limit.trim();
  if (limit !== "") {
    if (!/^[1-9]\d{0,8}$/.test(limit)) throw new Error("The limit must be a number from 1 on");
    query.limit = Number(limit);
  }
  const select = splitFields(draft.select);
  if (select.length > 0 && draft.aggregates.length === 0) query.select = select;
  return { query, aggregates: draft.aggregates.map(encodeAggregate) };
}

function encodeAggregate({ op, field }: AggregateDraft): JsonObject {
  if (op === "count") return { op };
  if (field.trim() === "") throw new Error(`Name the field of each ${op}`);
  return { op, field: field.trim() };
}

function encodeClause(clause: ClauseDraft): JsonObject | null {
  if (clause.kind === "filter") return encodeFilter(clause);
  const items = clause.items.map(encodeClause).filter((item) => item !== null);
  if (items.length <= 1) return items[0] ?? null;
  return { [clause.kind]: items };
}

function encodeFilter({ field, op, type, text }: FilterDraft): JsonObject {
  const name = field.trim();
  if (name === "") throw new Error("Name the field of each filter, or remove the filter");
  try {
    return { field: name, op, value: encodeValue(valueOfText(type, text)) };
  } catch (error) {
    if (!(error instanceof InvalidValue)) throw error;
    const hint = KIND_HINTS[type];
    const example = hint === undefined ? "" : `, such as ${hint}`;
    throw new Error(`The value for ${name} ${error.message}${example}`, { cause: error });
  }
}

/** Field paths between commas; commas within backticks belong to their path. */
export function splitFields(text: string): string[] {
  const found = text.match(/(?:`(?:\\.|[^`\\])*`|[^,`])+|`/gs) ?? [];
  return found.map((item) => item.trim()).filter((item) => item !== "");
}

/** Nesting that no person builds; a link may come from anywhere. */
const DEPTH_MAX = 8;

/** The draft of a query in JSON; parts that make no sense are left out. */
export function decodeDraft({ query, aggregates }: Asked): QueryDraft {
  const where = isObject(query.where) ? decodeClause(query.where, 0) : null;
  return {
    collection: typeof query.collection === "string" ? query.collection : "",
    group: query.group === true,
    where:
      where === null
        ? EMPTY_QUERY.where
        : where.kind === "filter"
          ? { kind: "and", items: [where] }
          : where,
    orders: objects(query.order_by).map((order) => ({
      field: String(order.field ?? ""),
      direction: order.direction === "desc" ? "desc" : "asc",
    })),
    limit: typeof query.limit === "number" ? String(query.limit) : "",
    select: Array.isArray(query.select) ? query.select.map(String).join(", ") : "",
    aggregates: aggregates.flatMap((item) => {
      const op = AGGREGATES.find((known) => known === item.op);
      return op === undefined ? [] : [{ op, field: String(item.field ?? "") }];
    }),
  };
}

function decodeClause(tree: JsonObject, depth: number): ClauseDraft | null {
  if (depth > DEPTH_MAX) return null;
  for (const kind of ["and", "or"] as const)
    if (Array.isArray(tree[kind])) {
      const items = objects(tree[kind]).map((item) => decodeClause(item, depth + 1));
      return { kind, items: items.filter((item) => item !== null) };
    }
  const op = OPERATORS.find((known) => known === tree.op);
  if (typeof tree.field !== "string" || op === undefined) return null;
  try {
    const value = decodeValue(tree.value as Json);
    const { kind: type } = value;
    const text = textOfValue(value);
    return { kind: "filter", field: tree.field, op, type, text, chosen: true };
  } catch {
    return null;
  }
}

function isObject(tree: unknown): tree is JsonObject {
  return tree !== null && typeof tree === "object" && !Array.isArray(tree);
}

function objects(tree: unknown): JsonObject[] {
  return Array.isArray(tree) ? tree.filter(isObject) : [];
}

/** What stands in an address: exact in its types. */
export function writeAsked({ query, aggregates }: Asked): string {
  return writeJson(aggregates.length === 0 ? { query } : { query, aggregates });
}

/** null: no query can be read out of it. */
export function readAsked(text: string): Asked | null {
  try {
    // Numbers that JSON would round are written with their type.
    const tree: unknown = JSON.parse(text);
    if (!isObject(tree) || !isObject(tree.query)) return null;
    return { query: tree.query, aggregates: objects(tree.aggregates) };
  } catch {
    return null;
  }
}

/** Another operator, with a value that fits it. */
export function withOperator(filter: FilterDraft, op: Operator): FilterDraft {
  if (takesList(op) === takesList(filter.op)) return { ...filter, op };
  if (!takesList(op)) return { ...filter, op, type: "string", text: "", chosen: false };
  if (filter.type !== "array") return { ...filter, op, type: "array", text: "[]" };
  return { ...filter, op };
}
