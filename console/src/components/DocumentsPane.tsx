import { Button, Menu, Switch } from "@mantine/core";
import {
  IconArrowBackUp,
  IconDotsVertical,
  IconFileOff,
  IconListSearch,
  IconPlus,
  IconTrashX,
} from "@tabler/icons-react";
import { type ReactNode, useEffect, useMemo, useRef, useState } from "react";
import { useDocumentList } from "../api/list";
import { askedDocuments } from "../model/asked";
import { columnsOf } from "../model/columns";
import { fieldSegment, type Segments } from "../model/paths";
import { encodeQuery, type View } from "../model/queries";
import { dataHash, queryHash } from "../model/routes";
import { rowCount, type Seen } from "../model/windows";
import { navigate, replaceHash } from "../navigation";
import type { DataRoute } from "../pages/DataPage";
import { IconAction } from "./controls";
import { DeleteRecursive } from "./DeleteRecursive";
import { DocumentsTable, SEEN_FIRST, seenOf } from "./DocumentsTable";
import { FilterBar } from "./FilterBar";
import { Empty, Failed, Loading } from "./feedback";
import { NewDocument } from "./NewDocument";
import { RestoreDialog } from "./RestoreDialog";

/** The live documents of a collection, however many there are. */
export function DocumentsPane({
  route,
  collection,
}: {
  route: DataRoute;
  collection: Segments;
}): ReactNode {
  const { project, database, view, path } = route;
  const body = useRef<HTMLDivElement>(null);
  const [dialog, setDialog] = useState<"create" | "restore" | "delete" | null>(null);
  const [seen, setSeen] = useState<Seen>(SEEN_FIRST);
  const list = useDocumentList(project, database, collection.join("/"), view, seen);
  const { windows, total } = list;
  const sample = windows?.segments.find((one) => one.documents !== null)?.documents;
  const names = useMemo(() => columnsOf(sample ?? []).map(fieldSegment), [sample]);
  const isEmpty = windows !== null && rowCount(windows) === 0;
  useEffect(() => {
    const element = body.current;
    if (element === null) return undefined;
    const look = () =>
      setSeen((old) => {
        const next = seenOf(element);
        return next.from === old.from && next.to === old.to ? old : next;
      });
    look();
    const sizes = new ResizeObserver(look);
    sizes.observe(element);
    element.addEventListener("scroll", look, { passive: true });
    return () => {
      sizes.disconnect();
      element.removeEventListener("scroll", look);
    };
  }, []);

  function changeView(next: View): void {
    body.current?.scrollTo({ top: 0 });
    replaceHash(dataHash(project, database, path, next));
  }

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
        <IconAction label="New document ( n )" onClick={() => setDialog("create")} data-key="n">
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
                  queryHash(
                    project,
                    database,
                    askedDocuments(encodeQuery(collection.join("/"), view, null)),
                  ),
                )
              }
            >
              Open in the query builder
            </Menu.Item>
            {!view.group && (
              <Menu.Item
                leftSection={<IconArrowBackUp size={15} />}
                onClick={() => setDialog("restore")}
              >
                Restore to an earlier time…
              </Menu.Item>
            )}
            <Menu.Divider />
            <Menu.Item
              color="var(--danger)"
              leftSection={<IconTrashX size={15} />}
              onClick={() => setDialog("delete")}
            >
              Delete with everything below…
            </Menu.Item>
          </Menu.Dropdown>
        </Menu>
      </div>
      <FilterBar view={view} names={names} onChange={changeView} />
      <div className="pane-body long-list" ref={body}>
        {list.error !== null ? (
          <Failed title="The query cannot be answered" error={list.error} onRetry={list.retry} />
        ) : windows === null ? (
          <Loading label="Loading documents" late="The server is reading the collection" />
        ) : isEmpty ? (
          <NoDocuments view={view} onCreate={() => setDialog("create")} onChange={changeView} />
        ) : (
          <DocumentsTable
            route={route}
            windows={windows}
            seen={seen}
            body={body}
            fresh={list.fresh}
            isStale={list.isStale}
            onOrder={(orderBy) => changeView({ ...view, orderBy })}
          />
        )}
      </div>
      {windows !== null && list.error === null && !isEmpty && (
        <div className="pane-foot">
          <span className="grow" role="status">
            {seenText(seen, rowCount(windows), total)}
          </span>
        </div>
      )}
      {dialog === "restore" && (
        <RestoreDialog
          project={project}
          database={database}
          path={collection}
          onClose={() => setDialog(null)}
        />
      )}
      {dialog === "delete" && (
        <DeleteRecursive
          project={project}
          database={database}
          path={collection}
          onClose={() => setDialog(null)}
        />
      )}
      {dialog === "create" && (
        <NewDocument
          project={project}
          database={database}
          collection={collection}
          onClose={() => setDialog(null)}
        />
      )}
    </>
  );
}

function seenText({ from, to }: Seen, rows: number, total: number | null): string {
  const many = (number: number) => number.toLocaleString("en");
  const all = Math.max(rows, total ?? 0);
  const of = total === null ? "" : ` of ${many(all)}`;
  return `${many(Math.min(from + 1, all))} to ${many(Math.min(to, all))}${of}`;
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
