/**
 * The administrator's session. The token lives in sessionStorage, so it ends with the tab and is
 * not shared between tabs; it travels in the Authorization header or a WebSocket message only.
 */

import { useSyncExternalStore } from "react";

export interface Session {
  token: string;
  email: string;
}

export interface SessionState {
  session: Session | null;
  /** The server has ended the session: the page stays as it is, so that no edit is lost. */
  expired: boolean;
}

const KEY = "baas-admin-session";

let state: SessionState = { session: stored(), expired: false };
const listeners = new Set<() => void>();

function stored(): Session | null {
  try {
    const tree: unknown = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
    if (tree === null || typeof tree !== "object") return null;
    const { token, email } = tree as Record<string, unknown>;
    return typeof token === "string" && typeof email === "string" ? { token, email } : null;
  } catch {
    return null;
  }
}

function set(next: SessionState): void {
  state = next;
  try {
    if (next.session === null) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, JSON.stringify(next.session));
  } catch {
    // Without storage the session lasts until the page is left.
  }
  for (const listener of listeners) listener();
}

export function startSession(session: Session): void {
  set({ session, expired: false });
}

/** Marks the session as ended by the server; a no-op for a token that is not the current one. */
export function expireSession(token: string): void {
  if (state.session?.token === token && !state.expired) set({ ...state, expired: true });
}

export function endSession(): void {
  set({ session: null, expired: false });
}

export function currentToken(): string | null {
  return state.expired ? null : (state.session?.token ?? null);
}

export function subscribeSession(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function useSession(): SessionState {
  return useSyncExternalStore(subscribeSession, () => state);
}
