/** The audit: what strangers could do to the live data, told while it is found out. */

import type { JsonObject } from "../model/json";
import { ApiError, errorOf, parsed } from "./client";
import { rulesPath } from "./rules";
import { currentToken, expireSession } from "./session";
import { objectOf } from "./trials";

export interface AuditFinding {
  caller: string;
  service: string;
  place: string;
  path: string;
  method: string;
  allowed: number;
  tried: number;
  example: string;
}

export type AuditEvent =
  | { kind: "finding"; finding: AuditFinding }
  | { kind: "progress"; place: string; path: string }
  | { kind: "done"; decisions: number; findings: number; complete: boolean };

function decodeAuditEvent(tree: JsonObject): AuditEvent | null {
  const finding = objectOf(tree.finding);
  const progress = objectOf(tree.progress);
  const done = objectOf(tree.done);
  if (finding !== null)
    return {
      kind: "finding",
      finding: {
        caller: String(finding.caller),
        service: String(finding.service),
        place: String(finding.place),
        path: String(finding.path),
        method: String(finding.method),
        allowed: Number(finding.allowed),
        tried: Number(finding.tried),
        example: String(finding.example),
      },
    };
  if (progress !== null)
    return { kind: "progress", place: String(progress.place), path: String(progress.path) };
  if (done !== null)
    return {
      kind: "done",
      decisions: Number(done.decisions),
      findings: Number(done.findings),
      complete: done.complete === true,
    };
  return null;
}

/** Runs the audit; each step is told as it comes. Throws ApiError, or AbortError if aborted. */
export async function auditRules(
  project: string,
  sample: number,
  signal: AbortSignal,
  tell: (event: AuditEvent) => void,
): Promise<void> {
  try {
    await readAudit(`/api/v1${rulesPath(project)}:audit?sample=${sample}`, signal, tell);
  } catch (error) {
    if (error instanceof TypeError)
      throw new ApiError(0, "UNAVAILABLE", "Unreachable", "the server cannot be reached");
    throw error;
  }
}

async function readAudit(
  address: string,
  signal: AbortSignal,
  tell: (event: AuditEvent) => void,
): Promise<void> {
  const token = currentToken() ?? "";
  const headers = { authorization: `Bearer ${token}` };
  const response = await fetch(address, {
    headers,
    cache: "no-store",
    credentials: "omit",
    signal,
  });
  const requestId = response.headers.get("x-request-id");
  if (!response.ok || response.body === null) {
    if (response.status === 401) expireSession(token);
    throw errorOf(response.status, parsed(await response.text()), requestId);
  }
  let isDone = false;
  for await (const line of linesOf(response.body)) {
    const tree = parsed(line);
    if (tree === null) continue;
    if ("error" in tree) throw errorOf(500, tree, requestId);
    const event = decodeAuditEvent(tree);
    if (event !== null) tell(event);
    isDone = isDone || event?.kind === "done";
  }
  if (!isDone) throw new ApiError(0, "UNAVAILABLE", "Unreachable", "the audit broke off");
}

async function* linesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      rest += done ? decoder.decode() : decoder.decode(value, { stream: true });
      const lines = rest.split("\n");
      rest = done ? "" : (lines.pop() ?? "");
      yield* lines.filter((line) => line !== "");
      if (done) return;
    }
  } finally {
    reader.releaseLock();
  }
}
