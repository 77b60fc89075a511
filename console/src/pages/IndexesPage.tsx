/** The indexes of a database: made by queries or by hand, kept or idle; pinned, dropped. */

import "../data.css";
import { Button, NativeSelect, TextInput } from "@mantine/core";
import {
  IconIndentIncrease,
  IconPin,
  IconPinnedOff,
  IconPlus,
  IconTrash,
} from "@tabler/icons-react";
import { type ReactNode, useState } from "react";
import {
  buildIndex,
  dropIndex,
  type Index,
  type IndexField,
  listIndexes,
  pinIndex,
} from "../api/indexes";
import { FieldInput } from "../components/ClauseEditor";
import { ClauseList } from "../components/ClauseList";
import { Confirm } from "../components/Confirm";
import { IconAction, Moment } from "../components/controls";
import { DatabaseMenu } from "../components/DatabaseMenu";
import { DefinitionText } from "../components/ExplainPanel";
import { FormDialog } from "../components/FormDialog";
import { Empty, toast, toastError } from "../components/feedback";
import { Listing, usePages } from "../components/Listing";
import { type Column, Table } from "../components/Table";
import { databaseHash, type Route } from "../model/routes";

const PAGE = 100;
const REFRESH_MS = 3_000;

export function IndexesPage({ route }: { route: Extract<Route, { page: "indexes" }> }): ReactNode {
  const { project, database } = route;
  const [dropping, setDropping] = useState<Index | null>(null);
  const [isMaking, setMaking] = useState(false);
  const pages = usePages(
    "indexes",
    `${project} ${database}`,
    (token) => listIndexes(project, database, PAGE, token),
    REFRESH_MS,
  );

  async function pin(index: Index): Promise<void> {
    try {
      const changed = await pinIndex(project, database, index.id, !index.pinned);
      if (pages.data === undefined) return;
      const items = pages.data.items.map((one) => (one.id === index.id ? changed : one));
      pages.setData({ ...pages.data, items });
    } catch (error) {
      toastError(index.pinned ? "Not unpinned" : "Not pinned", error);
    }
  }

  return (
    <>
      <header className="bar">
        <h1>Indexes</h1>
        <span className="grow" />
        <Button leftSection={<IconPlus size={15} />} onClick={() => setMaking(true)} data-key="n">
          Build an index
        </Button>
        <DatabaseMenu
          project={project}
          database={database}
          hashOf={(id) => databaseHash(project, "indexes", id)}
        />
      </header>
      <div className="page">
        <Listing
          pages={pages}
          empty={
            <Empty icon={<IconIndentIncrease />} title="No indexes yet">
              They are made by themselves, for queries that come again on collections that are large
              enough, and dropped when nobody uses them for a month. No query needs you to make one.
            </Empty>
          }
        >
          {({ items }) => (
            <Table
              label="Indexes"
              className="roomy-grid"
              items={items}
              keyOf={(index) => index.id}
              columns={columnsOf((index) => void pin(index), setDropping)}
            />
          )}
        </Listing>
      </div>
      {dropping !== null && (
        <Confirm
          title="Drop this index?"
          action="Drop index"
          danger
          onClose={() => setDropping(null)}
          onConfirm={async () => {
            await dropIndex(project, database, dropping.id);
            toast("The index is dropped");
            pages.reload();
          }}
        >
          <p>
            <DefinitionText definition={dropping} />
          </p>
          <p>
            Queries do without it at once, and may read the whole collection. One that needs it
            again has it made again.
          </p>
        </Confirm>
      )}
      {isMaking && (
        <NewIndex
          project={project}
          database={database}
          onDone={pages.reload}
          onClose={() => setMaking(false)}
        />
      )}
    </>
  );
}

function columnsOf(
  onPin: (index: Index) => void,
  onDrop: (index: Index) => void,
): readonly Column<Index>[] {
  return [
    {
      name: "Collection and fields",
      cell: (index) => (
        <span className="row named-index">
          <code className="muted">#{index.id}</code>
          <DefinitionText definition={index} />
        </span>
      ),
    },
    {
      name: "State",
      cell: ({ state, scanned, pinned }) => (
        <>
          <span
            className="badge"
            data-tone={state === "ready" ? "good" : "warn"}
            title={`${scanned.toLocaleString("en")} documents were looked at to build it`}
          >
            {state === "ready" ? "ready" : `building, ${scanned.toLocaleString("en")} documents`}
          </span>
          {pinned && <span className="badge">pinned</span>}
        </>
      ),
    },
    {
      name: "Uses",
      isNamed: true,
      cell: ({ uses }) => uses.toLocaleString("en"),
      title: () => "Since the server's start",
    },
    {
      name: "Last used",
      isNamed: true,
      className: "muted",
      cell: ({ used }) => (used === null ? "never" : <Moment time={used} />),
      title: ({ used }) => used ?? undefined,
    },
    {
      name: "Actions",
      isBare: true,
      className: "acts",
      cell: (index) => (
        <>
          <IconAction
            label={
              index.pinned
                ? `Unpin index ${index.id}: drop it when idle`
                : `Pin index ${index.id}: keep it however idle`
            }
            onClick={() => onPin(index)}
          >
            {index.pinned ? <IconPinnedOff size={16} /> : <IconPin size={16} />}
          </IconAction>
          <IconAction label={`Drop index ${index.id}`} onClick={() => onDrop(index)}>
            <IconTrash size={16} />
          </IconAction>
        </>
      ),
    },
  ];
}

const NEW_FIELD: IndexField = { field: "", direction: "asc", kind: "plain" };

function NewIndex({
  project,
  database,
  onDone,
  onClose,
}: {
  project: string;
  database: string;
  onDone: () => void;
  onClose: () => void;
}): ReactNode {
  const [collection, setCollection] = useState("");
  const [scope, setScope] = useState("collection");
  const [fields, setFields] = useState<readonly IndexField[]>([NEW_FIELD]);
  return (
    <FormDialog
      title="Build an index, and keep it"
      action="Build index"
      disabled={collection.trim() === "" || fields.some((one) => one.field.trim() === "")}
      onClose={onClose}
      onSubmit={async () => {
        const named = fields.map((one) => ({ ...one, field: one.field.trim() }));
        const wanted = { collection: collection.trim(), scope, fields: named };
        await buildIndex(project, database, wanted);
        toast("The index is being built");
        onDone();
      }}
    >
      <TextInput
        label="Collection id"
        placeholder="cities"
        value={collection}
        onChange={(event) => setCollection(event.currentTarget.value)}
        spellCheck={false}
        data-autofocus
      />
      <NativeSelect
        label="Serves"
        value={scope}
        onChange={(event) => setScope(event.currentTarget.value)}
        data={[
          { value: "collection", label: "each collection of this id" },
          { value: "group", label: "collection groups: all of them together" },
          { value: "below", label: "groups below one document" },
        ]}
      />
      <p className="muted small">
        Fields held equal come first, then the order of the query. The name comes last by itself.
      </p>
      <ClauseList name="field" items={fields} made={NEW_FIELD} least={1} onChange={setFields}>
        {(field, set) => (
          <>
            <FieldInput
              label="Field"
              value={field.field}
              names={[]}
              onChange={(name) => set({ ...field, field: name })}
            />
            <NativeSelect
              aria-label="Kind"
              value={field.kind === "plain" ? field.direction : field.kind}
              onChange={(event) => {
                const kind = event.currentTarget.value;
                set({
                  ...field,
                  kind: kind === "asc" || kind === "desc" ? "plain" : kind,
                  direction: kind === "desc" ? "desc" : "asc",
                });
              }}
              data={[
                { value: "asc", label: "↑ ascending" },
                { value: "desc", label: "↓ descending" },
                { value: "array", label: "elements of an array" },
                { value: "words", label: "words, for searches" },
                { value: "cell", label: "place of a geo point" },
              ]}
            />
          </>
        )}
      </ClauseList>
    </FormDialog>
  );
}
