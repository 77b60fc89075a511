/** How far back histories reach: what was said for a database or a project, and what holds. */

import type { JsonObject } from "../model/json";
import { projectPath, text } from "./admin";
import { call } from "./client";

export interface Reach {
  seconds: number;
  bytes: number;
}

/** What was said; null: nothing. */
export interface Rule {
  seconds: number | null;
  bytes: number | null;
}

export interface Said {
  rule: Rule;
  /** What holds where nothing was said. */
  inherited: Reach;
  inForce: Reach;
}

export interface Retention extends Said {
  /** Nothing from before can be read any more; null: all can. */
  oldest: string | null;
  /** Of old versions, and of the log of changes. */
  keptBytes: number;
}

/** Of one database, or for null of those of the project that say nothing. */
function path(project: string, database: string | null): string {
  const within = database === null ? "" : `/databases/${encodeURIComponent(database)}`;
  return `${projectPath(project)}${within}/retention`;
}

function decodeReach(tree: unknown): Reach {
  const { seconds, bytes } = tree as JsonObject;
  return { seconds: Number(seconds), bytes: Number(bytes) };
}

function decodeSaid(tree: JsonObject): Said {
  const orNull = (value: unknown) => (value == null ? null : Number(value));
  return {
    rule: { seconds: orNull(tree.seconds), bytes: orNull(tree.bytes) },
    inherited: decodeReach(tree.inherited),
    inForce: decodeReach(tree.in_force),
  };
}

export async function getRetention(project: string, database: string): Promise<Retention> {
  const tree = await call("GET", path(project, database));
  return {
    ...decodeSaid(tree),
    oldest: text(tree.oldest),
    keptBytes: Number(tree.history_bytes) + Number(tree.log_bytes),
  };
}

export async function getProjectRetention(project: string): Promise<Said> {
  return decodeSaid(await call("GET", path(project, null)));
}

export async function setRetention(
  project: string,
  database: string | null,
  rule: Rule,
): Promise<void> {
  await call("PUT", path(project, database), { body: { ...rule } });
}
