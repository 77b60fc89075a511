/** Reads and writes of documents with the administrator's session. */

import type { JsonObject } from "../model/json";
import { type Segments, urlPath } from "../model/paths";
import { encodeFields, type Fields } from "../model/values";
import { call } from "./client";

export function documentsBase(project: string, database: string): string {
  const names = `${encodeURIComponent(project)}/databases/${encodeURIComponent(database)}`;
  return `/projects/${names}/documents`;
}

/** Replaces the document if it is still the one of `updateTime`; null: if there is none yet. */
export async function setDocument(
  project: string,
  database: string,
  path: Segments,
  fields: Fields,
  updateTime: string | null,
): Promise<string> {
  const precondition: JsonObject =
    updateTime === null ? { exists: false } : { update_time: updateTime };
  const body = { fields: encodeFields(fields), precondition };
  const answer = await call("PUT", `${documentsBase(project, database)}/${urlPath(path)}`, {
    body,
  });
  return String(answer.update_time);
}

export async function deleteDocument(
  project: string,
  database: string,
  path: Segments,
  updateTime: string,
): Promise<void> {
  const query = `?update_time=${encodeURIComponent(updateTime)}`;
  await call("DELETE", `${documentsBase(project, database)}/${urlPath(path)}${query}`);
}

export async function countDocuments(
  project: string,
  database: string,
  query: JsonObject,
  signal?: AbortSignal,
): Promise<number> {
  const options = { body: { query }, ...(signal === undefined ? {} : { signal }) };
  return Number((await call("POST", `${documentsBase(project, database)}:count`, options)).count);
}

export function listenAddress(project: string, database: string): string {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  return `${scheme}//${location.host}/api/v1${documentsBase(project, database)}:listen`;
}
