import { Button, Loader, Menu, Switch } from "@mantine/core";
import {
  IconArrowBackUp,
  IconArrowDown,
  IconArrowUp,
  IconDotsVertical,
  IconFileOff,
  IconListSearch,
  IconPlus,
  IconTrashX,
} from "@tabler/icons-react";
import {
  type KeyboardEvent,
  memo,
  type ReactNode,
  useDeferredValue,
  useEffect,
  useMemo,
  useRef,
  useState,
} from "react";
import { ApiError } from "../api/client";
import { countDocuments } from "../api/documents";
import { useTarget } from "../api/hooks";
import type { Document } from "../api/listen";
import { fieldSegment, isDocument, type Segments, splitPath } from "../model/paths";
import { encodeQuery, type Order, PAGE, type View } from "../model/queries";
import { dataHash, queryHash } from "../model/routes";
import type { Kind } from "../model/values";
import { navigate, replaceHash } from "../navigation";
import type { DataRoute } from "../pages/DataPage";
import { IconAction } from "./controls";
import { DeleteRecursive } from "./DeleteRecursive";
import { FilterBar } from "./FilterBar";
import { Empty, Failed, Loading } from "./feedback";
import { NewDocument } from "./NewDocument";
import { RestoreDialog } from "./RestoreDialog";
import { ValueCell } from "./ValueView";

const COLUMNS_MAX = 12;
// What a page can show and keep up to date with ease; what is beyond comes as the next window.
const SHOWN_MAX = 1_000;

/** Where a window begins: after this document, and how many come before it. */
interface Start {
  after: Document;
  before: number;
}

/** The live documents of a collection, as many as have been asked for. */
export function DocumentsPane({
  route,
  collection,
}: {
  route: DataRoute;
  collection: Segments;
}): ReactNode {
  const { project, database, view, path } = route;
  const [limit, setLimit] = useState(PAGE);
  const [starts, setStarts] = useState<readonly Start[]>([]);
  const body = useRef<HTMLDivElement>(null);
  const [isCreating, setCreating] = useState(false);
  const [isRestoring, setRestoring] = useState(false);
  const [isDeleting, setDeleting] = useState(false);
  // One more than is shown tells whether there are more.
  const start = starts.at(-1) ?? null;
  const query = useMemo(
    () => encodeQuery(collection.join("/"), view, limit + 1, start?.after ?? null),
    [collection, view, limit, start],
  );
  const spec = useMemo(() => ({ query }), [query]);
  const { state, key } = useTarget(spec);
  const current = key === JSON.stringify(spec);
  const kept = useRef<Extract<typeof state, { status: "live" }> | null>(null);
  if (state.status === "live") kept.current = state;
  const live = state.status === "live" ? state : kept.current;
  const documents = useDeferredValue(live?.documents);
  const shown = useMemo(() => documents?.slice(0, limit), [documents, limit]);
  const total = useCount(project, database, collection, view, live?.readTime ?? "");
  const names = useMemo(() => columnsOf(shown ?? []), [shown]);

  function moveTo(next: readonly Start[], count: number): void {
    setLimit(count);
    setStarts(next);
    body.current?.scrollTo({ top: 0 });
  }

  function changeView(next: View): void {
    moveTo([], PAGE);
    replaceHash(dataHash(project, database, path, next));
  }

  const failed = state.status === "failed" && current ? state.error : null;
  return (
    <>
      <div className="pane-head">
        <h2 className="truncate">{collection.at(-1)}</h2>
        <span className="muted small grow">
          {total === null ? "" : `${total.toLocaleString("en")}`}
        </span>
        <Switch
          size="xs"
          label="Group"
          title="Every collection with this id, at any depth"
          checked={view.group}
          onChange={(event) => changeView({ ...view, group: event.currentTarget.checked })}
          styles={{ label: { fontSize: 12, color: "var(--muted)", paddingLeft: 6 } }}
        />
        <IconAction label="New document ( n )" onClick={() => setCreating(true)} data-key="n">
          <IconPlus size={17} />
        </IconAction>
        <Menu position="bottom-end">
          <Menu.Target>
            <IconAction label="Collection actions">
              <IconDotsVertical size={16} />
            </IconAction>
          </Menu.Target>
          <Menu.Dropdown>
            <Menu.Item
              leftSection={<IconListSearch size={15} />}
              onClick={() =>
                navigate(
                  queryHash(project, database, {
                    query: encodeQuery(collection.join("/"), view, null),
                    aggregates: [],
                  }),
                )
              }
            >
              Open in the query builder
            </Menu.Item>
            {!view.group && (
              <Menu.Item
                leftSection={<IconArrowBackUp size={15} />}
                onClick={() => setRestoring(true)}
              >
                Restore to an earlier time…
              </Menu.Item>
            )}
            <Menu.Divider />
            <Menu.Item
              color="var(--danger)"
              leftSection={<IconTrashX size={15} />}
              onClick={() => setDeleting(true)}
            >
              Delete with everything below…
            </Menu.Item>
          </Menu.Dropdown>
        </Menu>
      </div>
      <FilterBar view={view} names={names.map(fieldSegment)} onChange={changeView} />
      <div className="pane-body" ref={body}>
        {failed !== null && (
          <Failed
            title="The query cannot be answered"
            error={new ApiError(0, failed.code, failed.reason, failed.message)}
          />
        )}
        {failed === null && shown === undefined && (
          <Loading label="Loading documents" late="Waiting for the live connection" />
        )}
        {failed === null && shown?.length === 0 && (
          <NoDocuments view={view} onCreate={() => setCreating(true)} onChange={changeView} />
        )}
        {failed === null && shown !== undefined && shown.length > 0 && (
          <DocumentsTable
            route={route}
            documents={shown}
            names={names}
            fresh={live?.changed ?? new Set()}
            isStale={!current || state.status !== "live"}
            onOrder={(orderBy) => changeView({ ...view, orderBy })}
          />
        )}
        {failed === null && documents !== undefined && documents.length > limit && (
          <div className="row muted" style={{ padding: 12, justifyContent: "center" }}>
            {limit < SHOWN_MAX && (
              <Button
                variant="default"
                onClick={() => setLimit(Math.min(limit * 4, SHOWN_MAX))}
                leftSection={current ? null : <Loader size={12} />}
              >
                Load more
              </Button>
            )}
          </div>
        )}
      </div>
      {shown !== undefined && (shown.length > 0 || start !== null) && (
        <div className="pane-foot">
          <span className="grow" role="status">
            {shownText(start?.before ?? 0, shown.length, total)}
          </span>
          {start !== null && (
            <Button
              size="compact-sm"
              variant="default"
              onClick={() => moveTo(starts.slice(0, -1), SHOWN_MAX)}
            >
              Previous
            </Button>
          )}
          {limit >= SHOWN_MAX && documents !== undefined && documents.length > limit && (
            <Button
              size="compact-sm"
              variant="default"
              disabled={!current}
              onClick={() => {
                const after = shown.at(-1);
                if (after !== undefined)
                  moveTo(
                    [...starts, { after, before: (start?.before ?? 0) + shown.length }],
                    SHOWN_MAX,
                  );
              }}
            >
              Next {SHOWN_MAX.toLocaleString("en")}
            </Button>
          )}
        </div>
      )}
      {isRestoring && (
        <RestoreDialog
          project={project}
          database={database}
          path={collection}
          onClose={() => setRestoring(false)}
        />
      )}
      {isDeleting && (
        <DeleteRecursive
          project={project}
          database={database}
          path={collection}
          onClose={() => setDeleting(false)}
        />
      )}
      {isCreating && (
        <NewDocument
          project={project}
          database={database}
          collection={collection}
          onClose={() => setCreating(false)}
        />
      )}
    </>
  );
}

function shownText(before: number, count: number, total: number | null): string {
  const many = (number: number) => number.toLocaleString("en");
  const of = total !== null && total > count ? ` of ${many(total)}` : "";
  if (before === 0) return `${many(count)}${of} shown`;
  return count === 0 ? "None here any more" : `${many(before + 1)} to ${many(before + count)}${of}`;
}

function NoDocuments({
  view,
  onCreate,
  onChange,
}: {
  view: View;
  onCreate: () => void;
  onChange: (view: View) => void;
}): ReactNode {
  if (view.where.length > 0 || view.orderBy.length > 0)
    return (
      <Empty
        icon={<IconFileOff />}
        title="No document matches"
        action={
          <Button variant="default" onClick={() => onChange({ ...view, where: [], orderBy: [] })}>
            Clear filters
          </Button>
        }
      >
        Filters compare values of one type only, and ordering leaves out documents without the
        field.
      </Empty>
    );
  return (
    <Empty
      icon={<IconFileOff />}
      title="No documents"
      action={<Button onClick={onCreate}>Create a document</Button>}
    >
      New ones appear here at once, whoever writes them.
    </Empty>
  );
}

/** The number of matching documents, asked for again some time after the result changes. */
function useCount(
  project: string,
  database: string,
  collection: Segments,
  view: View,
  readTime: string,
): number | null {
  const [count, setCount] = useState<{ key: string; value: number } | null>(null);
  const query = encodeQuery(collection.join("/"), view, null);
  const key = JSON.stringify([project, database, query]);
  const asked = useRef("");
  useEffect(() => {
    if (readTime === "") return undefined;
    const control = new AbortController();
    const delay = asked.current === key ? 1500 : 0;
    const timer = setTimeout(() => {
      asked.current = key;
      const [, , wanted] = JSON.parse(key) as [string, string, typeof query];
      countDocuments(project, database, wanted, control.signal).then(
        (value) => setCount({ key, value }),
        () => setCount(null),
      );
    }, delay);
    return () => {
      clearTimeout(timer);
      control.abort();
    };
  }, [project, database, key, readTime]);
  return count?.key === key ? count.value : null;
}

const TITLES = ["name", "title", "email", "label", "displayName"];
const WEIGHTS: Readonly<Partial<Record<Kind, number>>> = {
  array: 2,
  map: 2,
  vector: 3,
  bytes: 3,
  null: 3,
};

/** The fields that most documents have: titles first, what is long or opaque last, then by name. */
export function columnsOf(documents: readonly Document[]): string[] {
  const counts = new Map<string, number>();
  const weights = new Map<string, number>();
  const sample = documents.slice(0, 200);
  for (const document of sample)
    for (const [name, value] of document.fields) {
      counts.set(name, (counts.get(name) ?? 0) + 1);
      const weight = WEIGHTS[value.kind] ?? 1;
      weights.set(name, Math.min(weights.get(name) ?? weight, weight));
    }
  const weightOf = (name: string) => (TITLES.includes(name) ? 0 : (weights.get(name) ?? 1));
  return [...counts]
    .sort(([, countA], [, countB]) => countB - countA)
    .slice(0, COLUMNS_MAX)
    .map(([name]) => name)
    .sort((a, b) => weightOf(a) - weightOf(b) || (a < b ? -1 : 1));
}

function DocumentsTable({
  route,
  documents,
  names,
  fresh,
  isStale,
  onOrder,
}: {
  route: DataRoute;
  documents: readonly Document[];
  names: readonly string[];
  fresh: ReadonlySet<string>;
  isStale: boolean;
  onOrder: (orders: readonly Order[]) => void;
}): ReactNode {
  const { project, database, view, path } = route;
  const selected = isDocument(path) ? path.join("/") : null;
  const body = useRef<HTMLTableSectionElement>(null);

  function order(name: string): void {
    const field = fieldSegment(name);
    const old = view.orderBy.find((item) => item.field === field);
    if (old === undefined) onOrder([{ field, direction: "asc" }]);
    else if (old.direction === "asc") onOrder([{ field, direction: "desc" }]);
    else onOrder([]);
  }

  function move(event: KeyboardEvent): void {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step === undefined || body.current === null) return;
    const links = [...body.current.querySelectorAll<HTMLAnchorElement>("td:first-child a")];
    const at = links.indexOf(document.activeElement as HTMLAnchorElement);
    const next = links[Math.min(Math.max(at + step, 0), links.length - 1)];
    if (next === undefined) return;
    event.preventDefault();
    next.focus();
  }

  return (
    <table className="grid documents-grid" data-stale={isStale || undefined}>
      <caption className="sr-only">Documents; arrow keys move, Enter opens</caption>
      <thead>
        <tr>
          <th scope="col">
            <span>Document id</span>
          </th>
          {names.map((name) => {
            const current = view.orderBy.find((item) => item.field === fieldSegment(name));
            return (
              <th
                key={name}
                scope="col"
                aria-sort={
                  current === undefined
                    ? undefined
                    : current.direction === "asc"
                      ? "ascending"
                      : "descending"
                }
              >
                <button type="button" className="bare" onClick={() => order(name)} title={name}>
                  <span className="truncate" style={{ maxWidth: 200 }}>
                    {name}
                  </span>
                  {current?.direction === "asc" && <IconArrowUp />}
                  {current?.direction === "desc" && <IconArrowDown />}
                </button>
              </th>
            );
          })}
        </tr>
      </thead>
      <tbody ref={body} onKeyDown={move}>
        {documents.map((item) => (
          <DocumentRow
            key={item.path}
            document={item}
            names={names}
            isGroup={view.group}
            href={dataHash(project, database, splitPath(item.path), view.group ? undefined : view)}
            isSelected={item.path === selected}
            isFresh={fresh.has(item.path)}
          />
        ))}
      </tbody>
    </table>
  );
}

interface RowProps {
  document: Document;
  names: readonly string[];
  isGroup: boolean;
  href: string;
  isSelected: boolean;
  isFresh: boolean;
}

const DocumentRow = memo(function DocumentRow({
  document,
  names,
  isGroup,
  href,
  isSelected,
  isFresh,
}: RowProps): ReactNode {
  const segments = splitPath(document.path);
  return (
    // The link in the first cell is the row's control; a click anywhere is a convenience.
    <tr
      // A new version starts the flash anew.
      key={document.updateTime}
      data-selected={isSelected || undefined}
      data-fresh={isFresh || undefined}
      onClick={(event) => {
        if (event.target instanceof HTMLElement && event.target.closest("a") === null)
          navigate(href);
      }}
    >
      <td>
        <a href={href} aria-current={isSelected ? "true" : undefined} title={document.path}>
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
    a.document.updateTime === b.document.updateTime &&
    a.document.path === b.document.path &&
    a.href === b.href &&
    a.isSelected === b.isSelected &&
    a.isFresh === b.isFresh &&
    a.isGroup === b.isGroup &&
    a.names.join("\n") === b.names.join("\n")
  );
}
