/** A query as a person builds it: texts that need not be right yet, and the wire's JSON of it. */

import { type Asked, isObject, objects, type Shows, showsOf } from "./asked";
import { KIND_HINTS, textOfValue, valueOfText } from "./inputs";
import type { Json, JsonObject } from "./json";
import {
  cursorValue,
  type Filter,
  fullOrder,
  OPERATORS,
  type Operator,
  operandReader,
  type Order,
  takesList,
} from "./queries";
import {
  decodeValue,
  encodeValue,
  type Fields,
  InvalidValue,
  type Kind,
  type Value,
} from "./values";

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

export const AGGREGATES = ["count", "sum", "average", "minimum", "maximum"] as const;

const GROUP_FIELDS_MAX = 5;

export interface AggregateDraft {
  op: (typeof AGGREGATES)[number];
  field: string;
}

/** One value of a cursor. */
export interface CursorValue {
  type: Kind;
  text: string;
  /** The type was chosen; else it is guessed from the text. */
  chosen: boolean;
}

/** Where the answer starts or ends: at these values of the orders, or just beside them. */
export interface CursorDraft {
  values: readonly CursorValue[];
  /** Whether documents of just these values are in the answer. */
  isIncluded: boolean;
}

/** Around a place, nearest first. */
export interface NearDraft {
  field: string;
  /** Latitude and longitude; empty: not around a place. */
  center: string;
  /** Metres, or kilometres with `km`; empty: anywhere. */
  radius: string;
}

export interface QueryDraft {
  collection: string;
  group: boolean;
  where: GroupDraft;
  orders: readonly Order[];
  start: CursorDraft | null;
  end: CursorDraft | null;
  limit: string;
  /** Words to search for; empty: no search. */
  search: string;
  /** Field paths between commas, where the words stand. */
  searchFields: string;
  near: NearDraft;
  /** Field paths between commas; empty: whole documents. */
  select: string;
  shows: Shows;
  /** Of all documents, or of each group. */
  aggregates: readonly AggregateDraft[];
  /** Field paths between commas, of which equal values make a group. */
  groupBy: string;
}

export const EMPTY_FILTER: FilterDraft = {
  kind: "filter",
  field: "",
  op: "==",
  type: "string",
  text: "",
  chosen: false,
};

export const EMPTY_VALUE: CursorValue = { type: "string", text: "", chosen: false };
export const EMPTY_CURSOR: CursorDraft = { values: [EMPTY_VALUE], isIncluded: true };

export const EMPTY_QUERY: QueryDraft = {
  collection: "",
  group: false,
  where: { kind: "and", items: [] },
  orders: [],
  start: null,
  end: null,
  limit: "",
  search: "",
  searchFields: "",
  near: { field: "", center: "", radius: "" },
  select: "",
  shows: "documents",
  aggregates: [],
  groupBy: "",
};

/** Throws Error that tells a person what is missing or wrong, and where. */
export function encodeDraft(draft: QueryDraft): Asked {
  const collection = draft.collection.trim().replace(/^\/+|\/+$/g, "");
  if (collection === "") throw new Error("Name a collection, such as cities or users/ada/orders");
  const query: JsonObject = { collection };
  if (draft.group) query.group = true;
  const where = encodeClause(draft.where);
  if (where !== null) query.where = where;
  const search = encodeSearch(draft);
  if (search !== null) query.search = search;
  const near = encodeNear(draft.near);
  if (near !== null) query.near = near;
  const orders = draft.orders.map(({ field, direction }) => {
    if (field.trim() === "") throw new Error("Name the field of each order, or remove the order");
    return { field: field.trim(), direction };
  });
  // Values of a cursor belong to orders that are written out, as SDKs want them.
  const bounded = Math.max(draft.start?.values.length ?? 0, draft.end?.values.length ?? 0);
  const written = fullOrder({ where: plainFilters(draft.where), orderBy: orders });
  const all = written.slice(0, Math.max(orders.length, bounded));
  if (search !== null && all.length > 0)
    throw new Error("A search has an order of its own, the best first: remove orders and cursors");
  if (near !== null && all.length > 0)
    throw new Error("Near has an order of its own, the nearest first: remove orders and cursors");
  if (near !== null && search !== null)
    throw new Error("A search and near have an order each: remove one of them");
  if (all.length > 0) query.order_by = all.map(({ field, direction }) => ({ field, direction }));
  for (const side of ["start", "end"] as const) {
    const cursor = draft[side];
    if (cursor !== null) query[side] = encodeCursor(draft, side, cursor);
  }
  const limit = draft.limit.trim();
  if (limit !== "") {
    if (!/^[1-9]\d{0,8}$/.test(limit)) throw new Error("The limit must be a number from 1 on");
    query.limit = Number(limit);
  }
  const select = splitFields(draft.select);
  if (select.length > 0 && draft.shows === "documents") query.select = select;
  return { query, ...encodeNumbers(draft) };
}

function encodeSearch({ search, searchFields }: QueryDraft): JsonObject | null {
  const text = search.trim();
  if (text === "") return null;
  const fields = splitFields(searchFields);
  if (fields.length === 0) throw new Error("Name the fields to search, such as title, body");
  return { text, fields };
}

function encodeNear({ field, center, radius }: NearDraft): JsonObject | null {
  if (center.trim() === "") return null;
  if (field.trim() === "") throw new Error("Name the field that holds the geo points");
  const near: JsonObject = {
    field: field.trim(),
    center: encodeTyped("the center", { type: "geo", text: center }),
  };
  if (radius.trim() !== "") near.radius_meters = metersOf(radius.trim());
  return near;
}

function metersOf(text: string): number {
  const found = /^(\d{1,9}(?:\.\d{1,9})?)\s*(km|m)?$/.exec(text);
  if (found === null) throw new Error("A radius is in metres, such as 500, or 5 km");
  return Number(found[1]) * (found[2] === "km" ? 1000 : 1);
}

function encodeNumbers({ shows, aggregates, groupBy }: QueryDraft): Omit<Asked, "query"> {
  if (shows === "documents") return { aggregates: [], groupBy: [] };
  const numbers = aggregates.map(encodeAggregate);
  if (shows === "numbers") {
    if (numbers.length === 0) throw new Error("Add a number, such as count");
    return { aggregates: numbers, groupBy: [] };
  }
  const fields = splitFields(groupBy);
  if (fields.length === 0) throw new Error("Name the fields to group by, such as country");
  if (fields.length > GROUP_FIELDS_MAX)
    throw new Error(`Group by ${GROUP_FIELDS_MAX} fields at most`);
  return { aggregates: numbers, groupBy: fields };
}

function encodeCursor(draft: QueryDraft, side: "start" | "end", cursor: CursorDraft): JsonObject {
  const names = cursorNames(draft);
  if (cursor.values.length === 0 || cursor.values.length > names.length)
    throw new Error(
      `The ${side} has ${cursor.values.length} values: it takes one for each order, at most ${names.length}`,
    );
  const values = cursor.values.map((value, at) =>
    encodeTyped(`${names[at]} at the ${side}`, value),
  );
  // A start before what has the values includes it, an end does not.
  return { values, before: cursor.isIncluded === (side === "start") };
}

/** What the values of a cursor belong to, in turn: the orders, with those that come by themselves. */
export function cursorNames({ where, orders }: Pick<QueryDraft, "where" | "orders">): string[] {
  const filters = plainFilters(where);
  return fullOrder({ where: filters, orderBy: orders }).map(({ field }) => field);
}

/** A cursor at a document, and the orders by which it has a place of its own. */
export function cursorAt(
  draft: QueryDraft,
  document: { path: string; fields: Fields },
): { orders: Order[]; values: CursorValue[] } {
  const orders = fullOrder({ where: plainFilters(draft.where), orderBy: draft.orders });
  const values = orders.map(({ field }) => {
    const value = decodeValue(cursorValue(field, document));
    return { type: value.kind, text: textOfValue(value, "line"), chosen: true };
  });
  return { orders, values };
}

function plainFilters(clause: ClauseDraft): Filter[] {
  if (clause.kind !== "filter") return clause.items.flatMap(plainFilters);
  const field = clause.field.trim();
  return field === "" ? [] : [{ field, op: clause.op, value: { kind: "null" } }];
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
  return { field: name, op, value: encodeTyped(name, { type, text }, operandReader(op)) };
}

function encodeTyped(
  name: string,
  { type, text }: { type: Kind; text: string },
  read?: (tree: Json) => Value,
): Json {
  try {
    return encodeValue(valueOfText(type, text, read));
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
export function decodeDraft(asked: Asked): QueryDraft {
  const { query, aggregates, groupBy } = asked;
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
    start: decodeCursor(query.start, "start"),
    end: decodeCursor(query.end, "end"),
    limit: typeof query.limit === "number" ? String(query.limit) : "",
    ...decodeSearch(query.search),
    near: decodeNear(query.near),
    select: Array.isArray(query.select) ? query.select.map(String).join(", ") : "",
    shows: showsOf(asked),
    aggregates: aggregates.flatMap((item) => {
      const op = AGGREGATES.find((known) => known === item.op);
      return op === undefined ? [] : [{ op, field: String(item.field ?? "") }];
    }),
    groupBy: groupBy.join(", "),
  };
}

function decodeSearch(tree: Json | undefined): Pick<QueryDraft, "search" | "searchFields"> {
  if (!isObject(tree) || typeof tree.text !== "string" || !Array.isArray(tree.fields))
    return { search: "", searchFields: "" };
  return { search: tree.text, searchFields: tree.fields.map(String).join(", ") };
}

function decodeNear(tree: Json | undefined): NearDraft {
  if (!isObject(tree) || typeof tree.field !== "string") return EMPTY_QUERY.near;
  try {
    const center = textOfValue(decodeValue(tree.center as Json));
    const radius = typeof tree.radius_meters === "number" ? String(tree.radius_meters) : "";
    return { field: tree.field, center, radius };
  } catch {
    return EMPTY_QUERY.near;
  }
}

function decodeCursor(tree: Json | undefined, side: "start" | "end"): CursorDraft | null {
  if (!isObject(tree) || !Array.isArray(tree.values)) return null;
  try {
    const values = tree.values.map((item) => {
      const value = decodeValue(item as Json);
      return { type: value.kind, text: textOfValue(value, "line"), chosen: true };
    });
    return { values, isIncluded: (tree.before !== false) === (side === "start") };
  } catch {
    return null;
  }
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
    const value = operandReader(op)(tree.value as Json);
    const { kind: type } = value;
    const text = textOfValue(value, "line");
    return { kind: "filter", field: tree.field, op, type, text, chosen: true };
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
