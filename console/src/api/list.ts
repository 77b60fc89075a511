/** A collection as a long list: what is seen of it is read, and kept live. */

import { useContext, useEffect, useRef, useState } from "react";
import type { JsonObject } from "../model/json";
import type { View } from "../model/queries";
import {
  carve,
  findLive,
  findMissing,
  refill,
  release,
  SEGMENT,
  SEGMENT_MAX,
  type Seen,
  segmentQuery,
  startWindows,
  type Windows,
  withTotal,
} from "../model/windows";
import { list as items } from "./admin";
import { ApiError, call } from "./client";
import { countDocuments, documentsBase } from "./documents";
import { ConnectionContext } from "./hooks";
import { type Document, decodeDocument } from "./listen";

const RECOUNT_MS = 1_500;

export interface DocumentList {
  /** null: nothing was read yet. */
  windows: Windows<Document> | null;
  /** What is shown belongs to what was asked before. */
  isStale: boolean;
  total: number | null;
  /** Paths that somebody has just written. */
  fresh: ReadonlySet<string>;
  error: unknown;
  retry: () => void;
}

const NOBODY: ReadonlySet<string> = new Set();

interface Held {
  key: string;
  windows: Windows<Document>;
  fresh: ReadonlySet<string>;
}

export function useDocumentList(
  project: string,
  database: string,
  collection: string,
  view: View,
  seen: Seen,
): DocumentList {
  const key = JSON.stringify([project, database, segmentQuery(collection, view, WHOLE, 1)]);
  const [held, setHeld] = useState<Held>(() => heldFor(key, view));
  const [kept, setKept] = useState<Windows<Document> | null>(null);
  const [failure, setFailure] = useState<{ key: string; error: unknown } | null>(null);
  const [changes, setChanges] = useState(0);
  if (held.key !== key) {
    // Until something is read, what was shown stays.
    if (held.windows.segments.some((one) => one.documents !== null)) setKept(held.windows);
    setHeld(heldFor(key, view));
  }
  const { windows, fresh } = held.key === key ? held : heldFor(key, view);
  const total = useTotal(project, database, collection, view, key, changes);

  function change(make: (old: Windows<Document>) => Windows<Document>): void {
    setHeld((old) => (old.key === key ? { ...old, windows: make(old.windows) } : old));
  }

  const error = failure?.key === key ? failure.error : null;
  const missing = error === null ? findMissing(windows, seen) : null;
  useRead(key, missing, () => {
    const segment = windows.segments.find((one) => one.id === missing?.id) ?? WHOLE;
    return {
      path: `${documentsBase(project, database)}:query`,
      query: segmentQuery(collection, view, segment, SEGMENT),
      onRead: (place, documents, isLast) => {
        change((old) => carve(old, place, documents, isLast));
        setKept(null);
      },
      onError: (found) => setFailure({ key, error: found }),
    };
  });

  useLiveSegments(
    collection,
    view,
    findLive(windows, seen),
    (id, documents, changed) => {
      setHeld((old) =>
        old.key === key
          ? { ...old, windows: refill(old.windows, id, documents), fresh: changed }
          : old,
      );
      setChanges((old) => old + 1);
    },
    (found) => setFailure({ key, error: found }),
  );

  useEffect(() => {
    if (total !== null)
      setHeld((old) =>
        old.key === key ? { ...old, windows: withTotal(old.windows, total) } : old,
      );
  }, [key, total, windows.segments.length]);
  const { from, to } = seen;
  useEffect(() => {
    setHeld((old) => {
      const windows = release(old.windows, { from, to });
      return windows === old.windows ? old : { ...old, windows };
    });
  }, [from, to]);

  const isRead = windows.segments.some((one) => one.isKnown);
  return {
    windows: isRead ? windows : kept,
    isStale: !isRead && kept !== null,
    total,
    fresh: isRead ? fresh : NOBODY,
    error,
    retry: () => setFailure(null),
  };
}

const WHOLE = { start: null, end: null };

function heldFor(key: string, view: View): Held {
  return { key, windows: startWindows(view), fresh: NOBODY };
}

interface Place {
  id: number;
  offset: number;
}

/** Reads what is missing of the list of a key, one part at a time; what is not wanted any more is
 * broken off. */
function useRead(
  key: string,
  missing: Place | null,
  plan: () => {
    path: string;
    query: JsonObject;
    onRead: (place: Place, documents: readonly Document[], isLast: boolean) => void;
    onError: (error: unknown) => void;
  },
): void {
  const latest = useRef(plan);
  latest.current = plan;
  // Of two lists that follow each other, both begin at the same place.
  const wanted = missing === null ? "" : `${missing.id} ${missing.offset} ${key}`;
  const place = useRef(missing);
  place.current = missing;
  useEffect(() => {
    const here = place.current;
    if (here === null) return undefined;
    const control = new AbortController();
    const { path, query, onRead, onError } = latest.current();
    const asked = here.offset === 0 ? query : { ...query, offset: here.offset };
    call("POST", path, { body: { query: asked }, signal: control.signal }).then(
      (tree) => {
        const documents = items(tree.documents).map(decodeDocument);
        // Large documents fill an answer before the limit does.
        onRead(here, documents, documents.length < SEGMENT && tree.next_page_token === undefined);
      },
      (error: unknown) => control.signal.aborted || onError(error),
    );
    return () => control.abort();
  }, [wanted]);
}

/** Listens to each of the segments for as long as it is wanted between the same cuts. */
function useLiveSegments(
  collection: string,
  view: View,
  segments: readonly { id: number; start: Cutless; end: Cutless }[],
  onChange: (id: number, documents: readonly Document[], changed: ReadonlySet<string>) => void,
  onError: (error: unknown) => void,
): void {
  const connection = useContext(ConnectionContext);
  const latest = useRef({ onChange, onError });
  latest.current = { onChange, onError };
  const running = useRef(new Map<string, () => void>());
  const wanted = segments.map((one) => ({
    id: one.id,
    query: segmentQuery(collection, view, one, SEGMENT_MAX + 1),
  }));
  const text = JSON.stringify(wanted);
  useEffect(() => {
    if (connection === null) return;
    const specs = new Map(
      (JSON.parse(text) as typeof wanted).map((one) => [JSON.stringify(one), one]),
    );
    for (const [key, stop] of running.current)
      if (!specs.has(key)) {
        stop();
        running.current.delete(key);
      }
    for (const [key, { id, query }] of specs) {
      if (running.current.has(key)) continue;
      const stop = connection.listen({ query }, (state) => {
        if (state.status === "live") latest.current.onChange(id, state.documents, state.changed);
        if (state.status !== "failed") return;
        const { code, reason, message } = state.error;
        latest.current.onError(new ApiError(0, code, reason, message));
      });
      running.current.set(key, stop);
    }
  }, [connection, text]);
  useEffect(() => {
    const all = running.current;
    return () => {
      for (const stop of all.values()) stop();
      all.clear();
    };
  }, [connection]);
}

type Cutless = Windows<Document>["segments"][number]["start"];

/** The number of matching documents, asked for again some time after something has changed. */
function useTotal(
  project: string,
  database: string,
  collection: string,
  view: View,
  key: string,
  changes: number,
): number | null {
  const [count, setCount] = useState<{ key: string; value: number | null } | null>(null);
  const latest = useRef({ collection, view });
  latest.current = { collection, view };
  const isFirst = count?.key !== key;
  useEffect(() => {
    const control = new AbortController();
    const timer = setTimeout(
      () => {
        const asked = latest.current;
        const query = segmentQuery(asked.collection, asked.view, WHOLE, 1);
        delete query.limit;
        countDocuments(project, database, query, control.signal).then(
          (value) => setCount({ key, value }),
          () => control.signal.aborted || setCount({ key, value: null }),
        );
      },
      isFirst ? 0 : RECOUNT_MS,
    );
    return () => {
      clearTimeout(timer);
      control.abort();
    };
    // oxlint-disable-next-line react/exhaustive-deps -- the first answer asks for no second one.
  }, [project, database, key, changes]);
  return count?.key === key ? count.value : null;
}
