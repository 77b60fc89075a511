/** What documents were: versions, restores, erasures. */

import type { JsonObject } from "../model/json";
import type { Segments } from "../model/paths";
import { list, projectPath, text } from "./admin";
import { call } from "./client";
import type { Page } from "./pages";
import { documentsBase } from "./documents";
import { decodeJob, type Job } from "./jobs";
import { type Document, decodeDocument } from "./listen";

export interface Version {
  time: string;
  kind: "created" | "updated" | "deleted";
  bytes: number | null;
  erased: boolean;
}

export interface RestorePlan {
  created: number;
  updated: number;
  deleted: number;
  erased: number;
  changes: { path: string; kind: string }[];
}

export interface RestoreWish {
  path: string;
  at: string;
  recursive: boolean;
}

function base(project: string, database: string): string {
  return `${projectPath(project)}/databases/${encodeURIComponent(database)}/documents`;
}

const VERSION_KINDS = ["created", "updated", "deleted"] as const;

/** Newest first. */
export async function listVersions(
  project: string,
  database: string,
  path: Segments,
  size: number,
  pageToken: string | null,
): Promise<Page<Version>> {
  const query = new URLSearchParams({ path: path.join("/"), page_size: String(size) });
  if (pageToken !== null) query.set("page_token", pageToken);
  const tree = await call("GET", `${base(project, database)}:history?${query}`);
  return {
    items: list(tree.versions).map((one) => ({
      time: String(one.time),
      kind: VERSION_KINDS.find((known) => known === one.kind) ?? "updated",
      bytes: one.bytes == null ? null : Number(one.bytes),
      erased: one.erased === true,
    })),
    nextPageToken: text(tree.next_page_token),
  };
}

/** The document as it was at a time, or as it is; null: there is none. */
export async function getDocumentAt(
  project: string,
  database: string,
  path: Segments,
  time: string | null,
): Promise<Document | null> {
  const body: JsonObject = { documents: [path.join("/")] };
  if (time !== null) body.read_time = time;
  const tree = await call("POST", `${documentsBase(project, database)}:batch-get`, { body });
  const found = list(tree.documents)[0]?.document as JsonObject | null | undefined;
  return found == null ? null : decodeDocument(found);
}

const CHANGES_SHOWN = 100;

/** All pages as one. */
export async function planRestore(
  project: string,
  database: string,
  wish: RestoreWish,
): Promise<RestorePlan> {
  const plan: RestorePlan = { created: 0, updated: 0, deleted: 0, erased: 0, changes: [] };
  let token: string | null = null;
  do {
    const body: JsonObject = { ...wish };
    if (token !== null) body.page_token = token;
    const tree: JsonObject = await call("POST", `${base(project, database)}:plan-restore`, {
      body,
    });
    plan.created += Number(tree.created);
    plan.updated += Number(tree.updated);
    plan.deleted += Number(tree.deleted);
    plan.erased += Number(tree.erased);
    for (const one of list(tree.changes)) {
      if (plan.changes.length === CHANGES_SHOWN) break;
      plan.changes.push({ path: String(one.path), kind: String(one.kind) });
    }
    token = text(tree.next_page_token);
  } while (token !== null);
  return plan;
}

export async function restore(project: string, database: string, wish: RestoreWish): Promise<Job> {
  return decodeJob(await call("POST", `${base(project, database)}:restore`, { body: { ...wish } }));
}

export interface Erasure {
  id: string;
  /** Null: of every document of `query`. */
  path: string | null;
  query: JsonObject | null;
  documents: number;
  /** The documents themselves went, too. */
  present: boolean;
  /** How many versions were removed; null: it broke off. */
  images: number | null;
  author: string | null;
  time: string;
}

function decodeErasure(tree: JsonObject): Erasure {
  return {
    id: String(tree.id),
    path: text(tree.path),
    query: (tree.query ?? null) as JsonObject | null,
    documents: Number(tree.documents),
    present: tree.present === true,
    images: tree.images == null ? null : Number(tree.images),
    author: text(tree.author),
    time: String(tree.time),
  };
}

/** What was erased, newest first. */
export async function listErasures(
  project: string,
  database: string,
  size: number,
  pageToken: string | null,
): Promise<Page<Erasure>> {
  const query = new URLSearchParams({ page_size: String(size) });
  if (pageToken !== null) query.set("page_token", pageToken);
  const path = `${projectPath(project)}/databases/${encodeURIComponent(database)}/erasures`;
  const tree = await call("GET", `${path}?${query}`);
  return {
    items: list(tree.erasures).map(decodeErasure),
    nextPageToken: text(tree.next_page_token),
  };
}

/** Removes every kept version of the document, and if `present` the document itself. */
export async function eraseDocument(
  project: string,
  database: string,
  path: Segments,
  present: boolean,
): Promise<Erasure> {
  const body = { path: path.join("/"), present };
  return decodeErasure(await call("POST", `${base(project, database)}:erase`, { body }));
}
