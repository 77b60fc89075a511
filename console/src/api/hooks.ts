import {
  createContext,
  useCallback,
  useContext,
  useEffect,
  useRef,
  useState,
  useSyncExternalStore,
} from "react";
import { type ConnectionStatus, ListenConnection } from "./connection";
import type { TargetSpec, TargetState } from "./listen";

export interface Loaded<T> {
  data: T | undefined;
  error: unknown;
  loading: boolean;
  reload: () => void;
  setData: (data: T) => void;
}

/** Loads once per key. While it reloads the old data stays; another key starts empty. */
export function useLoaded<T>(key: string, load: () => Promise<T>): Loaded<T> {
  const [state, setState] = useState<{ key: string; data?: T; error?: unknown; done: boolean }>({
    key,
    done: false,
  });
  const [round, setRound] = useState(0);
  const latest = useRef(load);
  latest.current = load;
  // `round` asks for another load.
  useEffect(() => {
    let current = true;
    latest.current().then(
      (data) => current && setState({ key, data, done: true }),
      (error: unknown) =>
        current &&
        setState((old) =>
          old.key === key ? { ...old, error, done: true } : { key, error, done: true },
        ),
    );
    return () => {
      current = false;
    };
  }, [key, round]);
  const reload = useCallback(() => setRound((old) => old + 1), []);
  const setData = useCallback((data: T) => setState({ key, data, done: true }), [key]);
  const mine = state.key === key;
  return {
    data: mine ? state.data : undefined,
    error: mine ? state.error : undefined,
    loading: !mine || !state.done,
    reload,
    setData,
  };
}

const CLOCK_MS = 20_000;
const clock = { now: Date.now(), watchers: new Set<() => void>() };
let ticking: ReturnType<typeof setInterval> | undefined;

function tick(): void {
  clock.now = Date.now();
  for (const watcher of clock.watchers) watcher();
}

function watchClock(watcher: () => void): () => void {
  clock.watchers.add(watcher);
  ticking ??= setInterval(tick, CLOCK_MS);
  if (Date.now() - clock.now > CLOCK_MS) tick();
  return () => {
    clock.watchers.delete(watcher);
    if (clock.watchers.size > 0) return;
    clearInterval(ticking);
    ticking = undefined;
  };
}

/** The time, as it goes on: milliseconds since 1970, true to some seconds. */
export function useNow(): number {
  return useSyncExternalStore(watchClock, () => clock.now);
}

/** Asks again now and then while the page can be seen; null: never. */
export function useRefresh(reload: () => void, everyMs: number | null): void {
  useEffect(() => {
    if (everyMs === null) return undefined;
    const timer = setInterval(() => {
      if (document.visibilityState === "visible") reload();
    }, everyMs);
    return () => clearInterval(timer);
  }, [reload, everyMs]);
}

export const ConnectionContext = createContext<ListenConnection | null>(null);

/** One connection for a project's database, as long as the caller is mounted. */
export function useConnection(project: string, database: string): ListenConnection | null {
  const [connection, setConnection] = useState<ListenConnection | null>(null);
  useEffect(() => {
    const made = new ListenConnection(project, database);
    made.start();
    setConnection(made);
    return () => made.close();
  }, [project, database]);
  return connection;
}

const WAITING: TargetState = { status: "waiting" };
const CONNECTING: ConnectionStatus = { status: "connecting" };

/** Listens to one target. `key` of the result tells which spec it belongs to. */
export function useTarget(spec: TargetSpec | null): { state: TargetState; key: string } {
  const connection = useContext(ConnectionContext);
  const key = JSON.stringify(spec);
  const [shown, setShown] = useState<{ state: TargetState; key: string }>({ state: WAITING, key });
  useEffect(() => {
    const wanted = JSON.parse(key) as TargetSpec | null;
    if (connection === null || wanted === null) return undefined;
    return connection.listen(wanted, (state) => setShown({ state, key }));
  }, [connection, key]);
  return shown;
}

export function useConnectionStatus(): ConnectionStatus {
  const connection = useContext(ConnectionContext);
  return useSyncExternalStore(
    useCallback((watcher) => connection?.watchStatus(watcher) ?? (() => undefined), [connection]),
    () => connection?.status ?? CONNECTING,
  );
}
