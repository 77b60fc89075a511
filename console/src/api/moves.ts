/** Moves of projects between engines. */

import type { JsonObject } from "../model/json";
import { type Engine, list, projectPath, text } from "./admin";
import { call } from "./client";

export interface Move {
  id: string;
  project: string;
  to: Engine;
  state: "running" | "undoing" | "done" | "cancelled" | "failed";
  step: string;
  error: string | null;
  created: string;
  documents: number;
  totalDocuments: number | null;
  /** How long writes were held up; null: not yet. */
  pauseMilliseconds: number | null;
}

const STATES = ["running", "undoing", "done", "cancelled", "failed"] as const;

function decodeMove(tree: JsonObject): Move {
  const progress = (tree.progress ?? {}) as JsonObject;
  return {
    id: String(tree.id),
    project: String(tree.project),
    to: tree.to === "mongodb" ? "mongodb" : "sqlite",
    state: STATES.find((known) => known === tree.state) ?? "running",
    step: String(tree.step),
    error: text(tree.error),
    created: text(tree.created) ?? "",
    documents: Number(progress.documents ?? 0),
    totalDocuments: progress.total_documents == null ? null : Number(progress.total_documents),
    pauseMilliseconds: tree.pause_milliseconds == null ? null : Number(tree.pause_milliseconds),
  };
}

/** Of all projects, newest first. */
export async function listMoves(): Promise<Move[]> {
  return list((await call("GET", "/admin/moves")).moves).map(decodeMove);
}

/** `here`: into files of the node that is asked, which no other one serves then. */
export async function startMove(project: string, to: Engine, here: boolean): Promise<void> {
  await call("POST", `${projectPath(project)}:move`, { body: { to, here } });
}

export async function cancelMove(id: string): Promise<void> {
  await call("POST", `/admin/moves/${encodeURIComponent(id)}:cancel`);
}
