/** Long work of a project, which goes on in the server. */

import type { Json, JsonObject } from "../model/json";
import { list, projectPath, text } from "./admin";
import { call } from "./client";

export interface Job {
  id: string;
  kind: string;
  /** Null: all of the project's. */
  database: string | null;
  asked: JsonObject;
  state: "running" | "done" | "cancelled" | "failed";
  error: string | null;
  author: string | null;
  created: string;
  updated: string;
  seen: number;
  written: number;
  failed: number;
  total: number | null;
  firstFailure: { path: string; reason: string; message: string } | null;
}

const STATES = ["running", "done", "cancelled", "failed"] as const;

export function decodeJob(tree: JsonObject): Job {
  const progress = (tree.progress ?? {}) as JsonObject;
  const failure = progress.first_failure as JsonObject | null | undefined;
  return {
    id: String(tree.id),
    kind: String(tree.kind),
    database: text(tree.database),
    asked: (tree.asked ?? {}) as JsonObject,
    state: STATES.find((known) => known === tree.state) ?? "running",
    error: text(tree.error),
    author: text(tree.author),
    created: text(tree.created) ?? "",
    updated: text(tree.updated) ?? "",
    seen: Number(progress.seen ?? 0),
    written: Number(progress.written ?? 0),
    failed: Number(progress.failed ?? 0),
    total: progress.total == null ? null : Number(progress.total),
    firstFailure:
      failure == null
        ? null
        : {
            path: String(failure.path),
            reason: String(failure.reason),
            message: String(failure.message),
          },
  };
}

export async function listJobs(project: string): Promise<Job[]> {
  return list((await call("GET", `${projectPath(project)}/jobs`)).jobs).map(decodeJob);
}

export async function cancelJob(project: string, id: string): Promise<Job> {
  const path = `${projectPath(project)}/jobs/${encodeURIComponent(id)}:cancel`;
  return decodeJob(await call("POST", path));
}

async function startJob(
  project: string,
  database: string,
  verb: string,
  body: JsonObject,
): Promise<Job> {
  const path = `${projectPath(project)}/databases/${encodeURIComponent(database)}/documents:${verb}`;
  return decodeJob(await call("POST", path, { body }));
}

/** Deletes a document or a collection with everything below. */
export function deleteRecursive(project: string, database: string, path: string): Promise<Job> {
  return startJob(project, database, "delete-recursive", { path });
}

/** Erases what every document of a query was, and if `present` what it is; with `deleted` also what
 * those were that matched when they were deleted. */
export function eraseByQuery(
  project: string,
  database: string,
  query: JsonObject,
  present: boolean,
  deleted: boolean,
): Promise<Job> {
  return startJob(project, database, "erase-by-query", { query, present, deleted });
}

/** Updates every document of a query: `fields` by field paths, and `remove`d ones. */
export function updateByQuery(
  project: string,
  database: string,
  query: JsonObject,
  fields: JsonObject,
  remove: readonly string[],
): Promise<Job> {
  const update: JsonObject = {};
  if (Object.keys(fields).length > 0) update.fields = fields;
  if (remove.length > 0) update.delete = [...remove] as Json[];
  return startJob(project, database, "update-by-query", { query, update });
}
