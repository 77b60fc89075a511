/** What the query builder asks the server: documents, numbers of them, or groups of equal values. */

import type { JsonObject } from "./json";
import { writeJson } from "./json";

export interface Asked {
  query: JsonObject;
  /** The numbers that are wanted of the documents, or of each group. */
  aggregates: JsonObject[];
  /** Fields of which equal values make a group. */
  groupBy: string[];
}

export const SHOWS = ["documents", "numbers", "groups"] as const;
export type Shows = (typeof SHOWS)[number];

export function askedDocuments(query: JsonObject): Asked {
  return { query, aggregates: [], groupBy: [] };
}

export function showsOf({ aggregates, groupBy }: Asked): Shows {
  if (groupBy.length > 0) return "groups";
  return aggregates.length > 0 ? "numbers" : "documents";
}

/** The body of its request, without pages. */
export function bodyOf({ query, aggregates, groupBy }: Asked): JsonObject {
  const body: JsonObject = { query };
  if (aggregates.length > 0) body.aggregates = aggregates;
  if (groupBy.length > 0) body.group_by = groupBy;
  return body;
}

/** What stands in an address: exact in its types. */
export function writeAsked(asked: Asked): string {
  return writeJson(bodyOf(asked));
}

/** null: no query can be read out of it. */
export function readAsked(text: string): Asked | null {
  try {
    // Numbers that JSON would round are written with their type.
    const tree: unknown = JSON.parse(text);
    if (!isObject(tree) || !isObject(tree.query)) return null;
    const groupBy = Array.isArray(tree.group_by) ? tree.group_by : [];
    return {
      query: tree.query,
      aggregates: objects(tree.aggregates),
      groupBy: groupBy.filter((field) => typeof field === "string"),
    };
  } catch {
    return null;
  }
}

export function isObject(tree: unknown): tree is JsonObject {
  return tree !== null && typeof tree === "object" && !Array.isArray(tree);
}

export function objects(tree: unknown): JsonObject[] {
  return Array.isArray(tree) ? tree.filter(isObject) : [];
}
