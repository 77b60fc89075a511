/** The rows of a long list of documents: only those that are seen are made. */

import { IconArrowDown, IconArrowUp } from "@tabler/icons-react";
import {
  type KeyboardEvent,
  memo,
  type ReactNode,
  type RefObject,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
} from "react";
import type { Document } from "../api/listen";
import { boundedWidth, columnsOf, widthOf } from "../model/columns";
import { fieldSegment, isDocument, splitPath } from "../model/paths";
import type { Order } from "../model/queries";
import { dataHash } from "../model/routes";
import { rowAt, rowCount, rowOf, type Seen, type Windows } from "../model/windows";
import { navigate } from "../navigation";
import type { DataRoute } from "../pages/DataPage";
import { ValueCell } from "./ValueView";

export const ROW_PIXELS = 31;
const HEAD_PIXELS = 31;
const OVERSCAN = 12;

export const SEEN_FIRST: Seen = { from: 0, to: 60 };

/** The rows that a scrolled element shows. */
export function seenOf(element: HTMLElement): Seen {
  const from = Math.max(0, Math.floor((element.scrollTop - 1) / ROW_PIXELS));
  const height = Math.max(0, element.clientHeight - HEAD_PIXELS);
  return { from, to: from + Math.ceil(height / ROW_PIXELS) + 1 };
}

interface TableProps {
  route: DataRoute;
  windows: Windows<Document>;
  seen: Seen;
  /** What scrolls. */
  body: RefObject<HTMLDivElement | null>;
  fresh: ReadonlySet<string>;
  isStale: boolean;
  onOrder: (orders: readonly Order[]) => void;
}

/** The columns of what was read first: they do not change while rows come and go. */
function useColumns({ segments, view }: Windows<Document>): { name: string; width: number }[] {
  const sample = segments.find((one) => one.documents !== null && one.count > 0)?.documents;
  const kept = useRef<{ view: unknown; columns: { name: string; width: number }[] } | null>(null);
  const isFirst = segments[0]?.documents != null;
  return useMemo(() => {
    if (sample == null) return kept.current?.columns ?? [];
    if (!isFirst && kept.current?.view === view) return kept.current.columns;
    const columns = columnsOf(sample).map((name) => ({ name, width: widthOf(name, sample) }));
    kept.current = { view, columns };
    return columns;
  }, [sample, isFirst, view]);
}

export function DocumentsTable(props: TableProps): ReactNode {
  const { route, windows, seen, body, fresh, isStale, onOrder } = props;
  const { project, database, view, path } = route;
  const selected = isDocument(path) ? path.join("/") : null;
  const table = useRef<HTMLTableElement>(null);
  const columns = useColumns(windows);
  const total = rowCount(windows);
  const from = Math.min(Math.max(0, seen.from - OVERSCAN), total);
  const to = Math.min(total, seen.to + OVERSCAN);
  const rows = Array.from({ length: to - from }, (_, at) => from + at);
  const { focused, onFocus, onKeyDown } = useRowFocus(props, table);
  useAnchor(body, windows, seen);
  // One row takes the focus from outside: the one that had it, the open one, or the first seen.
  const tabbable = [focused, selected, rowAt(windows, seen.from)?.path].find(
    (one) => one != null && rows.some((row) => rowAt(windows, row)?.path === one),
  );
  const names = useMemo(() => columns.map(({ name }) => name), [columns]);
  const idWidth = view.group ? 260 : idWidthOf(windows);
  const width = columns.reduce((sum, one) => sum + one.width, idWidth);
  return (
    <table
      className="grid documents-grid long-grid"
      data-stale={isStale || undefined}
      tabIndex={-1}
      aria-rowcount={total + 1}
      style={{ width }}
      ref={table}
      onFocus={onFocus}
      onKeyDown={onKeyDown}
    >
      <caption className="sr-only">Documents; arrow keys move, Enter opens</caption>
      <colgroup>
        <col style={{ width: idWidth }} />
        {columns.map((one) => (
          <col key={one.name} style={{ width: one.width }} />
        ))}
      </colgroup>
      <Head names={names} orders={view.orderBy} onOrder={onOrder} />
      <tbody>
        <Spacer rows={from} />
        {rows.map((row) => {
          const item = rowAt(windows, row);
          if (item == null) return <PendingRow key={`row ${row}`} columns={names.length + 1} />;
          return (
            <DocumentRow
              key={item.path}
              row={row}
              document={item}
              names={names}
              isGroup={view.group}
              href={dataHash(
                project,
                database,
                splitPath(item.path),
                view.group ? undefined : view,
              )}
              isSelected={item.path === selected}
              isFresh={fresh.has(item.path)}
              isTabbable={item.path === tabbable}
            />
          );
        })}
        <Spacer rows={total - to} />
      </tbody>
    </table>
  );
}

function idWidthOf({ segments }: Windows<Document>): number {
  const sample = segments.find((one) => one.documents !== null)?.documents ?? [];
  const lengths = sample.slice(0, 50).map(({ path }) => path.length - path.lastIndexOf("/") - 1);
  return Math.min(240, boundedWidth(Math.max(11, ...lengths)));
}

function Spacer({ rows }: { rows: number }): ReactNode {
  if (rows <= 0) return null;
  return (
    <tr aria-hidden className="spacer">
      <td style={{ height: rows * ROW_PIXELS }} />
    </tr>
  );
}

/** A row whose document is being read. */
function PendingRow({ columns }: { columns: number }): ReactNode {
  return (
    <tr aria-hidden className="pending">
      <td colSpan={columns}>
        <span />
      </td>
    </tr>
  );
}

/** Rows stay where they are seen, whatever is inserted or deleted above them. */
function useAnchor(
  body: RefObject<HTMLDivElement | null>,
  windows: Windows<Document>,
  { from }: Seen,
): void {
  const anchor = useRef<{ path: string; row: number } | null>(null);
  const shown = useRef(windows);
  useLayoutEffect(() => {
    const element = body.current;
    if (element !== null && shown.current !== windows && anchor.current !== null) {
      const row = rowOf(windows, anchor.current.path);
      // At the top, what comes is wanted.
      if (row >= 0 && row !== anchor.current.row && element.scrollTop > 0)
        element.scrollBy({ top: (row - anchor.current.row) * ROW_PIXELS });
    }
    shown.current = windows;
    const first = element === null ? from : seenOf(element).from;
    const item = rowAt(windows, first);
    anchor.current = item == null ? null : { path: item.path, row: first };
  }, [body, windows, from]);
}

interface RowFocus {
  focused: string | null;
  onFocus: (event: { target: EventTarget }) => void;
  onKeyDown: (event: KeyboardEvent) => void;
}

/** Arrow keys, pages, Home and End move the focus from row to row, also to rows not made yet. */
function useRowFocus(
  { windows, seen, body }: TableProps,
  table: RefObject<HTMLTableElement | null>,
): RowFocus {
  const [focused, setFocused] = useState<string | null>(null);
  // The row that takes the focus once it is there.
  const wanted = useRef<number | null>(null);
  const last = useRef<number | null>(null);
  const linkOf = (row: number) =>
    table.current?.querySelector<HTMLAnchorElement>(`tr[data-row="${row}"] td:first-child a`);

  useLayoutEffect(() => {
    if (wanted.current !== null) {
      const link = linkOf(wanted.current);
      if (link == null) return;
      wanted.current = null;
      link.focus({ preventScroll: true });
    }
    // The row with the focus was scrolled away: the keys go on from where it was.
    else if (last.current !== null && document.activeElement === document.body)
      table.current?.focus({ preventScroll: true });
  });

  function onKeyDown(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const element = body.current;
    const total = rowCount(windows);
    if (element === null || total === 0) return;
    const page = Math.max(1, seen.to - seen.from - 2);
    const at = last.current ?? seen.from - 1;
    const targets: Readonly<Record<string, number>> = {
      ArrowDown: at + 1,
      ArrowUp: at - 1,
      PageDown: at + page,
      PageUp: at - page,
      Home: 0,
      End: total - 1,
    };
    const target = targets[event.key];
    if (target === undefined) return;
    event.preventDefault();
    const row = Math.min(Math.max(target, 0), total - 1);
    last.current = row;
    wanted.current = row;
    const top = row * ROW_PIXELS;
    const height = element.clientHeight - HEAD_PIXELS;
    if (top < element.scrollTop) element.scrollTo({ top });
    else if (top + ROW_PIXELS > element.scrollTop + height)
      element.scrollTo({ top: top + ROW_PIXELS - height });
    const link = linkOf(row);
    if (link != null) {
      wanted.current = null;
      link.focus({ preventScroll: true });
    }
  }

  function onFocus({ target }: { target: EventTarget }): void {
    const row = (target as HTMLElement).closest<HTMLElement>("tr[data-row]");
    if (row === null) {
      last.current = null;
      return;
    }
    last.current = Number(row.dataset.row);
    setFocused(rowAt(windows, last.current)?.path ?? null);
  }

  return { focused, onFocus, onKeyDown };
}

const Head = memo(function Head({
  names,
  orders,
  onOrder,
}: {
  names: readonly string[];
  orders: readonly Order[];
  onOrder: (orders: readonly Order[]) => void;
}): ReactNode {
  function order(field: string): void {
    const old = orders.find((item) => item.field === field);
    if (old === undefined) onOrder([{ field, direction: "asc" }]);
    else if (old.direction === "asc") onOrder([{ field, direction: "desc" }]);
    else onOrder([]);
  }
  return (
    <thead>
      <tr aria-rowindex={1}>
        <th scope="col">
          <span>Document id</span>
        </th>
        {names.map((name) => {
          const field = fieldSegment(name);
          const direction = orders.find((item) => item.field === field)?.direction;
          return (
            <th
              key={name}
              scope="col"
              aria-sort={direction && (direction === "asc" ? "ascending" : "descending")}
            >
              <button type="button" className="bare" onClick={() => order(field)} title={name}>
                <span className="truncate">{name}</span>
                {direction === "asc" && <IconArrowUp />}
                {direction === "desc" && <IconArrowDown />}
              </button>
            </th>
          );
        })}
      </tr>
    </thead>
  );
});

interface RowProps {
  row: number;
  document: Document;
  names: readonly string[];
  isGroup: boolean;
  href: string;
  isSelected: boolean;
  isFresh: boolean;
  isTabbable: boolean;
}

const DocumentRow = memo(function DocumentRow({
  row,
  document,
  names,
  isGroup,
  href,
  isSelected,
  isFresh,
  isTabbable,
}: RowProps): ReactNode {
  const segments = splitPath(document.path);
  return (
    // The link in the first cell is the row's control; a click anywhere is a convenience.
    <tr
      data-row={row}
      aria-rowindex={row + 2}
      data-selected={isSelected || undefined}
      data-fresh={isFresh || undefined}
      onClick={(event) => {
        if (event.target instanceof HTMLElement && event.target.closest("a") === null)
          navigate(href);
      }}
    >
      <td>
        <a
          href={href}
          aria-current={isSelected ? "true" : undefined}
          title={document.path}
          tabIndex={isTabbable ? 0 : -1}
        >
          {isGroup ? document.path : segments.at(-1)}
        </a>
      </td>
      {names.map((name) => (
        <td key={name}>
          <ValueCell value={document.fields.get(name)} />
        </td>
      ))}
    </tr>
  );
}, isSameRow);

function isSameRow(a: RowProps, b: RowProps): boolean {
  return (
    a.row === b.row &&
    a.document.updateTime === b.document.updateTime &&
    a.document.path === b.document.path &&
    a.href === b.href &&
    a.isSelected === b.isSelected &&
    a.isFresh === b.isFresh &&
    a.isTabbable === b.isTabbable &&
    a.isGroup === b.isGroup &&
    a.names === b.names
  );
}
