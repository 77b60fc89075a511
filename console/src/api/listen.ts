/**
 * The client's side of the listen protocol, without I/O: messages in, messages and notices out.
 * A target's documents are only ever those of a final snapshot, so that what is shown is always
 * the result of the query at one version.
 */

import type { JsonObject } from "../model/json";
import { decodeFields, type Fields } from "../model/values";

export interface Document {
  path: string;
  fields: Fields;
  createTime: string;
  updateTime: string;
  /** From the center, in an answer around a place. */
  distanceMeters?: number;
}

export interface ServerError {
  code: string;
  reason: string;
  message: string;
}

export interface Change {
  kind: "added" | "modified" | "removed";
  oldIndex: number;
  newIndex: number;
  document: Document;
}

export type TargetSpec = { query: JsonObject } | { documents: string[] };

export type TargetState =
  | { status: "waiting" }
  | {
      status: "live";
      documents: readonly Document[];
      changed: ReadonlySet<string>;
      readTime: string;
    }
  | { status: "failed"; error: ServerError };

interface Target {
  spec: TargetSpec;
  state: TargetState;
  resumeToken: string | null;
  /** What the parts of an unfinished snapshot have made so far. */
  pending: { documents: Document[]; changed: Set<string> } | null;
}

export interface Outcome {
  send: JsonObject[];
  /** Targets whose state is new. */
  changed: number[];
  /** Set when the connection must be given up. */
  fatal: ServerError | null;
  /** Set once, when the server has let us in. */
  welcomed: { pingSeconds: number } | null;
}

export class ProtocolFault extends Error {}

export class ListenProtocol {
  readonly #targets = new Map<number, Target>();
  #next = 1;
  #welcomed = false;

  constructor(private readonly token: () => string | null) {}

  get size(): number {
    return this.#targets.size;
  }

  state(target: number): TargetState {
    return this.#targets.get(target)?.state ?? { status: "waiting" };
  }

  /** Adds a target; the messages go out now if there is a connection, else after the welcome. */
  listen(spec: TargetSpec): { target: number; send: JsonObject[] } {
    const target = this.#next++;
    const made: Target = { spec, state: { status: "waiting" }, resumeToken: null, pending: null };
    this.#targets.set(target, made);
    return { target, send: this.#welcomed ? [listenMessage(target, made)] : [] };
  }

  unlisten(target: number): JsonObject[] {
    if (!this.#targets.delete(target) || !this.#welcomed) return [];
    return [{ type: "unlisten", target }];
  }

  /** A connection has been made: what to say first. */
  opened(): JsonObject[] {
    this.#welcomed = false;
    return [{ type: "hello", token: this.token(), api_key: null }];
  }

  /** The connection is gone. Shown documents stay; half-received snapshots are forgotten. */
  closed(): void {
    this.#welcomed = false;
    for (const target of this.#targets.values()) target.pending = null;
  }

  /** Takes one message. Throws ProtocolFault if the server broke the protocol. */
  receive(message: JsonObject): Outcome {
    const outcome: Outcome = { send: [], changed: [], fatal: null, welcomed: null };
    switch (message.type) {
      case "welcome":
        this.#welcomed = true;
        outcome.welcomed = { pingSeconds: Number(message.ping_seconds ?? 30) || 30 };
        for (const [id, target] of this.#targets)
          if (target.state.status !== "failed") outcome.send.push(listenMessage(id, target));
        break;
      case "snapshot":
        this.#snapshot(message, outcome);
        break;
      case "removed": {
        const id = Number(message.target);
        const target = this.#targets.get(id);
        if (target !== undefined && message.error) {
          target.state = { status: "failed", error: decodeError(message.error) };
          target.pending = null;
          target.resumeToken = null;
          outcome.changed.push(id);
        }
        break;
      }
      case "error":
        outcome.fatal = decodeError(message.error);
        break;
      default:
        // `added`, `pong`, and whatever a newer server may say.
        break;
    }
    return outcome;
  }

  #snapshot(message: JsonObject, outcome: Outcome): void {
    const id = Number(message.target);
    const target = this.#targets.get(id);
    // One that was on its way when the target was dropped.
    if (target === undefined) return;
    const shown = target.state.status === "live" ? target.state.documents : [];
    if (target.pending === null || message.reset === true) {
      const documents = message.reset === true ? [] : [...shown];
      target.pending = { documents, changed: new Set() };
    }
    try {
      const changes = ((message.changes as JsonObject[] | undefined) ?? []).map(decodeChange);
      applyChanges(target.pending.documents, changes);
      for (const change of changes)
        if (change.kind !== "removed") target.pending.changed.add(change.document.path);
    } catch (error) {
      if (!(error instanceof ProtocolFault)) throw error;
      // What we hold is not what the server thinks: ask for everything anew.
      target.pending = null;
      target.resumeToken = null;
      target.state = { status: "waiting" };
      outcome.send.push({ type: "unlisten", target: id });
      this.#targets.delete(id);
      this.#targets.set(id, target);
      outcome.send.push(listenMessage(id, target));
      return;
    }
    if (typeof message.resume_token === "string") target.resumeToken = message.resume_token;
    if (message.final === false) return;
    const { documents, changed } = target.pending;
    target.pending = null;
    const first = target.state.status !== "live";
    if (!first && changed.size === 0 && documents.length === shown.length) return;
    target.state = {
      status: "live",
      documents,
      // The first snapshot is not news.
      changed: first ? new Set() : changed,
      readTime: String(message.read_time ?? ""),
    };
    outcome.changed.push(id);
  }
}

/** Applies changes one by one: remove at the old index, insert at the new. */
export function applyChanges(documents: Document[], changes: readonly Change[]): void {
  for (const { kind, oldIndex, newIndex, document } of changes) {
    if (kind !== "added") {
      if (documents[oldIndex]?.path !== document.path)
        throw new ProtocolFault(`no ${document.path} at ${oldIndex}`);
      documents.splice(oldIndex, 1);
    }
    if (kind !== "removed") {
      if (!(newIndex >= 0 && newIndex <= documents.length))
        throw new ProtocolFault(`no place at ${newIndex}`);
      documents.splice(newIndex, 0, document);
    }
  }
}

export function decodeDocument(tree: JsonObject): Document {
  return {
    path: String(tree.path),
    fields: decodeFields(tree.fields ?? {}),
    createTime: String(tree.create_time ?? ""),
    updateTime: String(tree.update_time ?? ""),
    ...(typeof tree.distance_meters === "number" && { distanceMeters: tree.distance_meters }),
  };
}

export function decodeError(tree: unknown): ServerError {
  const error = (tree ?? {}) as Record<string, unknown>;
  return {
    code: String(error.code ?? "UNKNOWN"),
    reason: String(error.reason ?? "Unknown"),
    message: String(error.message ?? "the server gave no reason"),
  };
}

function decodeChange(tree: JsonObject): Change {
  return {
    kind: tree.kind as Change["kind"],
    oldIndex: Number(tree.old_index ?? -1),
    newIndex: Number(tree.new_index ?? -1),
    document: decodeDocument(tree.document as JsonObject),
  };
}

function listenMessage(target: number, { spec, resumeToken }: Target): JsonObject {
  const message: JsonObject = { type: "listen", target, ...spec };
  if (resumeToken !== null) message.resume_token = resumeToken;
  return message;
}
