/** The current address, and guards that keep unsaved edits from being left by accident. */

import { useEffect, useRef, useSyncExternalStore } from "react";
import { parseHash, type Route } from "./model/routes";

interface Guard {
  what: string;
  /** Whether going there would lose the edits. */
  blocks: (next: Route) => boolean;
}

interface Pending {
  hash: string;
  what: string;
}

const guards = new Set<Guard>();
const listeners = new Set<() => void>();
let current = location.hash;
let route = parseHash(current);
let pending: Pending | null = null;

function notify(): void {
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

window.addEventListener("hashchange", () => {
  const hash = location.hash;
  if (hash === current) return;
  const next = parseHash(hash);
  const guard = [...guards].find((item) => item.blocks(next));
  if (guard !== undefined) {
    history.replaceState(null, "", current === "" ? "#/" : current);
    pending = { hash, what: guard.what };
  } else {
    current = hash;
    route = next;
    pending = null;
  }
  notify();
});

window.addEventListener("beforeunload", (event) => {
  if (guards.size > 0) event.preventDefault();
});

export function navigate(hash: string): void {
  location.hash = hash;
}

/** Changes the address without an entry in the history, as filters being typed do. */
export function replaceHash(hash: string): void {
  history.replaceState(null, "", hash);
  current = hash;
  route = parseHash(hash);
  notify();
}

export function useRoute(): Route {
  return useSyncExternalStore(subscribe, () => route);
}

/** Where the person wanted to go when a guard stopped them. */
export function usePendingNavigation(): Pending | null {
  return useSyncExternalStore(subscribe, () => pending);
}

export function stay(): void {
  pending = null;
  notify();
}

export function leave(): void {
  const target = pending;
  guards.clear();
  pending = null;
  if (target !== null) navigate(target.hash);
  notify();
}

/** While `dirty`, asks before the page is left for a route that `blocks` names. */
export function useGuard(dirty: boolean, what: string, blocks: (next: Route) => boolean): void {
  const latest = useRef(blocks);
  latest.current = blocks;
  useEffect(() => {
    if (!dirty) return undefined;
    const guard: Guard = { what, blocks: (next) => latest.current(next) };
    guards.add(guard);
    return () => {
      guards.delete(guard);
    };
  }, [dirty, what]);
}
