/** One HTTP call to the server, and the one error that it can end with. */

import { type Json, type JsonObject, parseJson, writeJson } from "../model/json";
import { currentToken, expireSession } from "./session";

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly reason: string,
    message: string,
    readonly details: JsonObject | null = null,
    readonly requestId: string | null = null,
  ) {
    super(message);
  }
}

export interface CallOptions {
  body?: Json;
  signal?: AbortSignal;
  /** Sign-in calls carry no session, and their 401 ends none. */
  anonymous?: boolean;
  headers?: Readonly<Record<string, string>>;
  /** Numbers of the answer stay as they were written, where they are a person's text. */
  exact?: boolean;
}

/** Throws ApiError: of the server's, or `Unreachable` (status 0) if there was no answer. */
export async function call(
  method: string,
  path: string,
  { body, signal, anonymous = false, headers: more = {}, exact = false }: CallOptions = {},
): Promise<JsonObject> {
  const token = anonymous ? null : currentToken();
  const headers: Record<string, string> = { ...more, accept: "application/json" };
  if (token !== null) headers.authorization = `Bearer ${token}`;
  const options: RequestInit = { method, headers, cache: "no-store", credentials: "omit" };
  if (signal !== undefined) options.signal = signal;
  if (body !== undefined) {
    headers["content-type"] = "application/json";
    options.body = writeJson(body);
  }
  let response: Response;
  let text: string;
  try {
    response = await fetch(`/api/v1${path}`, options);
    text = await response.text();
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "UNAVAILABLE", "Unreachable", "the server cannot be reached");
  }
  const tree = exact && response.ok ? (parseJson(text).tree as JsonObject) : parsed(text);
  if (response.ok) return tree ?? {};
  if (response.status === 401 && token !== null) expireSession(token);
  throw errorOf(response.status, tree, response.headers.get("x-request-id"));
}

export function parsed(text: string): JsonObject | null {
  try {
    const tree: unknown = JSON.parse(text);
    return tree !== null && typeof tree === "object" ? (tree as JsonObject) : null;
  } catch {
    return null;
  }
}

export function errorOf(
  status: number,
  tree: JsonObject | null,
  requestId: string | null,
): ApiError {
  const error = tree?.error as JsonObject | undefined;
  return new ApiError(
    status,
    String(error?.code ?? "UNKNOWN"),
    String(error?.reason ?? "Unknown"),
    String(error?.message ?? `the server answered ${status}`),
    (error?.details as JsonObject | null | undefined) ?? null,
    requestId,
  );
}

/** What to tell a person about any failure. */
export function messageOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.charAt(0).toUpperCase() + message.slice(1);
}

export function isReason(error: unknown, reason: string): boolean {
  return error instanceof ApiError && error.reason === reason;
}

/** The write was refused because the document is not the one that was read. */
export function isConflict(error: unknown): boolean {
  return (
    error instanceof ApiError &&
    (error.code === "FAILED_PRECONDITION" ||
      error.code === "ABORTED" ||
      error.code === "NOT_FOUND" ||
      error.code === "ALREADY_EXISTS")
  );
}
