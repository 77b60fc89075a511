/**
 * A long list of documents of which only parts are held, without I/O.
 *
 * Cuts divide the order of a query into segments that never overlap: each document belongs to one,
 * whatever is inserted or deleted. A segment is held (its documents are known) or not (its number
 * is an estimate, and takes up as much room). What is held is small, so that it can be live.
 */

import type { Json, JsonObject } from "./json";
import { cutValues, encodeQuery, type View } from "./queries";
import type { Fields } from "./values";

export interface Item {
  path: string;
  fields: Fields;
}

/** A place between documents: before or behind the one of these values. */
export interface Cut {
  values: Json[];
  before: boolean;
}

export interface Segment<T extends Item> {
  id: number;
  /** null: from the start of the query, to its end. */
  start: Cut | null;
  end: Cut | null;
  /** null: not held. */
  documents: readonly T[] | null;
  /** How many rows it takes: as many as it has documents, or an estimate. */
  count: number;
  /** It was held once: asked for live, not cut again. */
  isKnown: boolean;
}

export interface Windows<T extends Item> {
  view: View;
  segments: readonly Segment<T>[];
  next: number;
}

/** Documents in a segment as it is cut. */
export const SEGMENT = 200;
/** A segment that has grown so far is divided; a listener is never asked for more. */
export const SEGMENT_MAX = 2 * SEGMENT;
/** So many rows on either side of those that are seen are live. */
const MARGIN = SEGMENT / 2;
/** Held segments beyond this distance are let go. */
const HELD_ROWS = 10 * SEGMENT;

export function startWindows<T extends Item>(view: View): Windows<T> {
  const whole = { id: 1, start: null, end: null, documents: null, count: 0, isKnown: false };
  return { view, segments: [whole], next: 2 };
}

export function rowCount<T extends Item>({ segments }: Windows<T>): number {
  return segments.reduce((sum, { count }) => sum + count, 0);
}

/** The query whose answer is what lies between the cuts. */
export function segmentQuery(
  collection: string,
  view: View,
  { start, end }: { start: Cut | null; end: Cut | null },
  limit: number,
): JsonObject {
  const query = encodeQuery(collection, view, limit, start !== null || end !== null);
  if (start !== null) query.start = { ...start };
  if (end !== null) query.end = { ...end };
  return query;
}

export interface Seen {
  /** The first row that is seen, and the one behind the last. */
  from: number;
  to: number;
}

/** What is to be read next for what is seen: so many rows behind the start of a segment. */
export function findMissing<T extends Item>(
  { segments }: Windows<T>,
  { from, to }: Seen,
): { id: number; offset: number } | null {
  let first = 0;
  for (const segment of segments) {
    const behind = first + segment.count;
    // One that seems empty may not be: its number is an estimate.
    const isSeen = first < to + MARGIN && (behind > from - MARGIN || segment.count === 0);
    if (!segment.isKnown && isSeen) {
      const offset = Math.max(0, from - MARGIN - first);
      // What begins close to the start of the segment leaves no gap there.
      return { id: segment.id, offset: offset < SEGMENT ? 0 : offset };
    }
    first = behind;
  }
  return null;
}

/** Which segments are to be live for what is seen. */
export function findLive<T extends Item>(
  { segments }: Windows<T>,
  { from, to }: Seen,
): readonly Segment<T>[] {
  let first = 0;
  return segments.filter((segment) => {
    const start = first;
    first += segment.count;
    return segment.isKnown && start <= to + MARGIN && first >= from - MARGIN;
  });
}

/** Takes what was read `offset` rows behind the start of a segment that is not held. */
export function carve<T extends Item>(
  windows: Windows<T>,
  { id, offset }: { id: number; offset: number },
  documents: readonly T[],
  isLast: boolean,
): Windows<T> {
  const { view, segments, next } = windows;
  const at = segments.findIndex((one) => one.id === id);
  const old = segments[at];
  if (old === undefined || old.isKnown) return windows;
  const [head, tail] = [documents[0], documents.at(-1)];
  // The estimate was too high: there is nothing so far behind.
  if (offset > 0 && head === undefined)
    return replaceAt(windows, at, [{ ...old, count: Math.min(old.count, offset) }]);
  const made: Segment<T>[] = [];
  let start = old.start;
  if (offset > 0 && head !== undefined) {
    start = { values: cutValues(view, head), before: true };
    made.push({ ...old, id: next, end: start, count: offset });
  }
  const end =
    isLast || tail === undefined ? old.end : { values: cutValues(view, tail), before: false };
  const count = documents.length;
  made.push({ id, start, end, documents, count, isKnown: true });
  if (end !== old.end) {
    const left = Math.max(0, old.count - offset - count);
    made.push({
      id: next + 1,
      start: end,
      end: old.end,
      documents: null,
      count: left,
      isKnown: false,
    });
  }
  return { ...replaceAt(windows, at, made), next: next + 2 };
}

/** Takes what a segment holds now. One that has grown too large is divided. */
export function refill<T extends Item>(
  windows: Windows<T>,
  id: number,
  documents: readonly T[],
): Windows<T> {
  const { view, segments, next } = windows;
  const at = segments.findIndex((one) => one.id === id);
  const old = segments[at];
  if (old === undefined) return windows;
  const middle = documents[SEGMENT - 1];
  if (documents.length <= SEGMENT_MAX || middle === undefined)
    return replaceAt(windows, at, [{ ...old, documents, count: documents.length }]);
  const cut = { values: cutValues(view, middle), before: false };
  const [first, rest] = [documents.slice(0, SEGMENT), documents.slice(SEGMENT)];
  const divided = [
    { ...old, end: cut, documents: first, count: first.length },
    // What was asked for ended at a limit: the rest is looked at anew.
    { ...old, id: next, start: cut, documents: null, count: rest.length, isKnown: false },
  ];
  return { ...replaceAt(windows, at, divided), next: next + 1 };
}

/** What is far from what is seen is let go; its room stays. */
export function release<T extends Item>(windows: Windows<T>, { from, to }: Seen): Windows<T> {
  let first = 0;
  let isChanged = false;
  const segments = windows.segments.map((segment) => {
    const start = first;
    first += segment.count;
    const isFar = start > to + HELD_ROWS || first < from - HELD_ROWS;
    if (!isFar || segment.documents === null) return segment;
    isChanged = true;
    return { ...segment, documents: null };
  });
  return isChanged ? { ...windows, segments } : windows;
}

/** Gives what is not held as many rows as the total leaves for it. */
export function withTotal<T extends Item>(windows: Windows<T>, total: number): Windows<T> {
  const { segments } = windows;
  const at = segments.findLastIndex((one) => !one.isKnown);
  const last = segments[at];
  if (last === undefined) return windows;
  const count = Math.max(0, total - (rowCount(windows) - last.count));
  return count === last.count ? windows : replaceAt(windows, at, [{ ...last, count }]);
}

/** The document of a row; null: not held; undefined: there is no such row. */
export function rowAt<T extends Item>({ segments }: Windows<T>, row: number): T | null | undefined {
  let first = 0;
  for (const { documents, count } of segments) {
    if (row >= first && row < first + count)
      return documents === null ? null : (documents[row - first] ?? null);
    first += count;
  }
  return undefined;
}

/** The row of a document that is held; -1: it is not. */
export function rowOf<T extends Item>({ segments }: Windows<T>, path: string): number {
  let first = 0;
  for (const { documents, count } of segments) {
    const at = documents?.findIndex((one) => one.path === path) ?? -1;
    if (at >= 0) return first + at;
    first += count;
  }
  return -1;
}

function replaceAt<T extends Item>(
  windows: Windows<T>,
  at: number,
  made: readonly Segment<T>[],
): Windows<T> {
  const { segments } = windows;
  return { ...windows, segments: [...segments.slice(0, at), ...made, ...segments.slice(at + 1)] };
}
