/** JSON Schemas of a project's documents: releases, checks of what is stored, deployments. */

import type { Json, JsonObject } from "../model/json";
import { list, projectPath, text } from "./admin";
import { ApiError, call } from "./client";

export interface SchemaNote {
  /** `none` before the first deployment. */
  id: string;
  deployedAt: string | null;
  author: string | null;
  message: string;
}

export interface SchemaRelease extends SchemaNote {
  schemas: JsonObject[];
}

export interface Finding {
  document: string;
  violations: { field: string; message: string }[];
}

export interface CheckPage {
  checked: number;
  failed: number;
  found: Finding[];
  isWaiting: boolean;
  nextPageToken: string | null;
}

function decodeNote(tree: JsonObject): SchemaNote {
  return {
    id: String(tree.release),
    deployedAt: text(tree.deployed_at),
    author: text(tree.author),
    message: text(tree.message) ?? "",
  };
}

function decodeRelease(tree: JsonObject): SchemaRelease {
  return { ...decodeNote(tree), schemas: list(tree.schemas) };
}

export async function getSchemas(project: string, release?: string): Promise<SchemaRelease> {
  const tail = release === undefined ? "" : `/releases/${encodeURIComponent(release)}`;
  const tree = await call("GET", `${projectPath(project)}/schemas${tail}`, { exact: true });
  return decodeRelease(tree);
}

export async function listSchemaReleases(project: string): Promise<SchemaNote[]> {
  const tree = await call("GET", `${projectPath(project)}/schemas/releases`);
  return list(tree.releases).map(decodeNote);
}

export async function deploySchemas(
  project: string,
  schemas: Json[],
  message: string,
  base: string,
  allowExisting: boolean,
): Promise<SchemaRelease> {
  const body = { schemas, message, if_release: base, allow_existing: allowExisting };
  const tree = await call("PUT", `${projectPath(project)}/schemas`, { body, exact: true });
  return decodeRelease(tree);
}

/** One slice of a check of stored documents. */
export async function checkSchemas(
  project: string,
  database: string,
  schemas: Json[],
  pageSize: number,
  pageToken: string | null,
  signal: AbortSignal,
): Promise<CheckPage> {
  const body: JsonObject = { schemas, page_size: pageSize };
  if (pageToken !== null) body.page_token = pageToken;
  const path = `${projectPath(project)}/databases/${encodeURIComponent(database)}/schemas:check`;
  const tree = await call("POST", path, { body, signal });
  return {
    checked: Number(tree.checked),
    failed: Number(tree.failed),
    found: list(tree.found).map(decodeFinding),
    isWaiting: tree.waiting === true,
    nextPageToken: text(tree.next_page_token),
  };
}

function decodeFinding(tree: JsonObject): Finding {
  return {
    document: String(tree.document),
    violations: list(tree.violations).map((one) => ({
      field: String(one.field ?? ""),
      message: String(one.message ?? one.keyword ?? ""),
    })),
  };
}

/** What is stored and does not fit, where a deployment was refused for it; null: no such refusal. */
export function violationsOf(error: unknown): { database: string; found: Finding[] } | null {
  if (!(error instanceof ApiError)) return null;
  if (error.reason !== "ExistingViolations" && error.reason !== "CheckTooLong") return null;
  const { database = "", found } = error.details ?? {};
  return { database: String(database), found: list(found).map(decodeFinding) };
}
