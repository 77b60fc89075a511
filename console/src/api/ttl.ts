/** Policies of expiry: which timestamp field says when documents of a collection group go. */

import type { JsonObject } from "../model/json";
import { list, projectPath, text } from "./admin";
import { call } from "./client";
import { countDocuments } from "./documents";

export interface Policy {
  collection: string;
  field: string;
  created: string;
  /** How many documents it has deleted so far. */
  deleted: number;
  lastDeletion: string | null;
  /** Why the last try failed; null: it did not. */
  error: string | null;
}

function base(project: string, database: string): string {
  return `${projectPath(project)}/databases/${encodeURIComponent(database)}/ttl`;
}

function decodePolicy(tree: JsonObject): Policy {
  return {
    collection: String(tree.collection),
    field: String(tree.field),
    created: String(tree.created),
    deleted: Number(tree.deleted),
    lastDeletion: text(tree.last_deletion),
    error: text(tree.error),
  };
}

/** By collection. */
export async function listPolicies(project: string, database: string): Promise<Policy[]> {
  return list((await call("GET", base(project, database))).policies).map(decodePolicy);
}

export async function setPolicy(
  project: string,
  database: string,
  collection: string,
  field: string,
): Promise<Policy> {
  const path = `${base(project, database)}/${encodeURIComponent(collection)}`;
  return decodePolicy(await call("PUT", path, { body: { field } }));
}

export async function deletePolicy(
  project: string,
  database: string,
  collection: string,
): Promise<void> {
  await call("DELETE", `${base(project, database)}/${encodeURIComponent(collection)}`);
}

/** What a policy would find: documents with a time in the field, and those whose time has come. */
export interface Reach {
  dated: number;
  expired: number;
}

const FIRST_TIME = "0001-01-01T00:00:00.000000Z";

export async function countReach(
  project: string,
  database: string,
  collection: string,
  field: string,
  now: string,
): Promise<Reach> {
  const count = (op: string, time: string) =>
    countDocuments(project, database, {
      collection,
      group: true,
      where: { field, op, value: { $timestamp: time } },
    });
  const [dated, expired] = await Promise.all([count(">=", FIRST_TIME), count("<=", now)]);
  return { dated, expired };
}
