/** Indexes of a database. */

import type { JsonObject } from "../model/json";
import { list, projectPath, text } from "./admin";
import { call } from "./client";
import type { Page } from "./pages";

export interface IndexField {
  field: string;
  direction: "asc" | "desc";
  /** `plain`, `array`, `words`, `cell`, or what a newer server has. */
  kind: string;
}

export interface Definition {
  collection: string;
  scope: string;
  fields: IndexField[];
}

export interface Index extends Definition {
  id: string;
  state: "building" | "ready";
  scanned: number;
  pinned: boolean;
  uses: number;
  used: string | null;
}

function base(project: string, database: string): string {
  return `${projectPath(project)}/databases/${encodeURIComponent(database)}/indexes`;
}

export function decodeDefinition(tree: JsonObject): Definition {
  return {
    collection: String(tree.collection),
    scope: String(tree.scope),
    fields: list(tree.fields).map((item) => ({
      field: String(item.field),
      direction: item.direction === "desc" ? "desc" : "asc",
      kind: String(item.kind ?? "plain"),
    })),
  };
}

function decodeIndex(tree: JsonObject): Index {
  return {
    ...decodeDefinition(tree),
    id: String(tree.id),
    state: tree.state === "building" ? "building" : "ready",
    scanned: Number(tree.scanned ?? 0),
    pinned: tree.pinned === true,
    uses: Number(tree.uses ?? 0),
    used: text(tree.used),
  };
}

export async function listIndexes(
  project: string,
  database: string,
  size: number,
  pageToken: string | null,
): Promise<Page<Index>> {
  const token = pageToken === null ? "" : `&page_token=${encodeURIComponent(pageToken)}`;
  const tree = await call("GET", `${base(project, database)}?page_size=${size}${token}`);
  return {
    items: list(tree.indexes).map(decodeIndex),
    nextPageToken: text(tree.next_page_token),
  };
}

export async function buildIndex(
  project: string,
  database: string,
  { collection, scope, fields }: Definition,
): Promise<Index> {
  const body = { collection, scope, fields: fields.map((field) => ({ ...field })) };
  return decodeIndex(await call("POST", base(project, database), { body }));
}

export async function pinIndex(
  project: string,
  database: string,
  id: string,
  pinned: boolean,
): Promise<Index> {
  const path = `${base(project, database)}/${encodeURIComponent(id)}`;
  return decodeIndex(await call("PATCH", path, { body: { pinned } }));
}

export async function dropIndex(project: string, database: string, id: string): Promise<void> {
  await call("DELETE", `${base(project, database)}/${encodeURIComponent(id)}`);
}
