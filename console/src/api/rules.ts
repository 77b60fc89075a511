/** Calls on a project's rules: what is in force, drafts, releases. */

import type { JsonObject } from "../model/json";
import { list, projectPath, text } from "./admin";
import { ApiError, call } from "./client";
import type { Page } from "./pages";

export interface ReleaseNote {
  id: string;
  /** Null: before the first deployment. */
  deployedAt: string | null;
  author: string | null;
  message: string;
  rollbackOf: string | null;
}

export interface Rules extends ReleaseNote {
  source: string;
}

export interface Release extends ReleaseNote {
  inForce: boolean;
}

export interface Diagnostic {
  severity: "error" | "warning";
  message: string;
  line: number;
  column: number;
  endColumn: number;
  hint: string | null;
  /** Of what lint found. */
  code: string | null;
}

/** How a deployment is made: only over `base`, so that nothing unseen is replaced. */
export interface Deployment {
  message: string;
  base: string;
  allowOpen: boolean;
}

const DEFAULT_RELEASE = "default";

export function rulesPath(project: string): string {
  return `${projectPath(project)}/rules`;
}

function decodeNote(tree: JsonObject, id: unknown): ReleaseNote {
  return {
    id: text(id) ?? DEFAULT_RELEASE,
    deployedAt: text(tree.deployed_at),
    author: text(tree.author),
    message: text(tree.message) ?? "",
    rollbackOf: text(tree.rollback_of),
  };
}

function decodeRules(tree: JsonObject): Rules {
  return { ...decodeNote(tree, tree.ruleset), source: text(tree.source) ?? "" };
}

export async function getRules(project: string): Promise<Rules> {
  return decodeRules(await call("GET", rulesPath(project)));
}

export async function checkRules(
  project: string,
  source: string,
  signal: AbortSignal,
): Promise<Diagnostic[]> {
  const options = { body: { source }, signal };
  return decodeDiagnostics(
    (await call("POST", `${rulesPath(project)}:check`, options)).diagnostics,
  );
}

export function decodeDiagnostics(tree: unknown): Diagnostic[] {
  return list(tree).map((item) => ({
    severity: item.severity === "warning" ? "warning" : "error",
    message: String(item.message),
    line: Number(item.line) || 1,
    column: Number(item.column) || 1,
    endColumn: Number(item.end_column) || Number(item.column) || 1,
    hint: text(item.hint),
    code: text(item.code),
  }));
}

function encodeDeployment(deployment: Deployment): JsonObject {
  const { message, base, allowOpen } = deployment;
  return { message, if_release: base, allow_open: allowOpen };
}

export async function deployRules(
  project: string,
  source: string,
  deployment: Deployment,
): Promise<Rules> {
  const body = { source, ...encodeDeployment(deployment) };
  return { ...decodeRules(await call("PUT", rulesPath(project), { body })), source };
}

// Releases

export async function listReleases(
  project: string,
  size: number,
  pageToken: string | null,
): Promise<Page<Release>> {
  const token = pageToken === null ? "" : `&page_token=${encodeURIComponent(pageToken)}`;
  const tree = await call("GET", `${rulesPath(project)}/releases?page_size=${size}${token}`);
  const releases = list(tree.releases).map((item) => ({
    ...decodeNote(item, item.release),
    inForce: item.in_force === true,
  }));
  return { items: releases, nextPageToken: text(tree.next_page_token) };
}

export async function getRelease(project: string, id: string): Promise<Rules> {
  const path = `${rulesPath(project)}/releases/${encodeURIComponent(id)}`;
  const tree = await call("GET", path);
  return { ...decodeNote(tree, tree.release), source: text(tree.source) ?? "" };
}

export async function rollBackRules(
  project: string,
  release: string,
  deployment: Deployment,
): Promise<Rules> {
  const body = { release, ...encodeDeployment(deployment) };
  return decodeRules(await call("POST", `${rulesPath(project)}:rollback`, { body }));
}

/** The release that is in force instead of the one that a deployment was bound to. */
export function changedRelease(error: unknown): boolean {
  return error instanceof ApiError && error.reason === "ReleaseChanged";
}

/** What open rules would let everybody do, if that is why they were refused. */
export function openPathsOf(error: unknown): string[] | null {
  if (!(error instanceof ApiError) || error.reason !== "OpenRules") return null;
  return list(error.details?.open).map((item) => {
    const methods = Array.isArray(item.methods) ? ` (${item.methods.join(", ")})` : "";
    return `${text(item.path) ?? "?"}${methods}`;
  });
}
