/** The indexes of a database: made by queries or by hand, kept or idle; pinned, dropped. */

import "../data.css";
import { Button, NativeSelect, TextInput } from "@mantine/core";
import {
  IconIndentIncrease,
  IconPin,
  IconPinnedOff,
  IconPlus,
  IconTrash,
  IconX,
} from "@tabler/icons-react";
import { type FormEvent, type ReactNode, useEffect, useState } from "react";
import { messageOf } from "../api/client";
import { useLoaded } from "../api/hooks";
import {
  buildIndex,
  dropIndex,
  type Index,
  type IndexField,
  listIndexes,
  pinIndex,
} from "../api/indexes";
import { FieldInput } from "../components/ClauseEditor";
import { Confirm } from "../components/Confirm";
import { IconAction } from "../components/controls";
import { DatabaseMenu } from "../components/DatabaseMenu";
import { Dialog } from "../components/Dialog";
import { DefinitionText } from "../components/ExplainPanel";
import { Empty, Failed, Loading, toast, toastError } from "../components/feedback";
import { shortTime } from "../model/inputs";
import { databaseHash, type Route } from "../model/routes";

const PAGE = 100;
const REFRESH_MS = 3_000;

export function IndexesPage({ route }: { route: Extract<Route, { page: "indexes" }> }): ReactNode {
  const { project, database } = route;
  const [dropping, setDropping] = useState<Index | null>(null);
  const [isMaking, setMaking] = useState(false);
  const [busy, setBusy] = useState(false);
  const loaded = useLoaded(`indexes ${project} ${database}`, () =>
    listIndexes(project, database, PAGE, null),
  );
  const { reload, data } = loaded;
  // What was loaded beyond the first page would be gone.
  const isFirstPage = data !== undefined && data.indexes.length <= PAGE;
  useEffect(() => {
    if (!isFirstPage) return undefined;
    const timer = setInterval(() => {
      if (document.visibilityState === "visible") reload();
    }, REFRESH_MS);
    return () => clearInterval(timer);
  }, [isFirstPage, reload]);

  async function more(): Promise<void> {
    if (data === undefined || data.nextPageToken === null) return;
    setBusy(true);
    try {
      const next = await listIndexes(project, database, PAGE, data.nextPageToken);
      loaded.setData({ ...next, indexes: [...data.indexes, ...next.indexes] });
    } catch (error) {
      toastError("More indexes could not be loaded", error);
    }
    setBusy(false);
  }

  async function pin(index: Index): Promise<void> {
    try {
      const changed = await pinIndex(project, database, index.id, !index.pinned);
      if (data !== undefined)
        loaded.setData({
          ...data,
          indexes: data.indexes.map((one) => (one.id === index.id ? changed : one)),
        });
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
        {data === undefined && loaded.loading && <Loading label="Loading indexes" />}
        {data === undefined && !loaded.loading && (
          <Failed title="Indexes could not be loaded" error={loaded.error} onRetry={reload} />
        )}
        {data?.indexes.length === 0 && (
          <Empty icon={<IconIndentIncrease />} title="No indexes yet">
            They are made by themselves, for queries that come again on collections that are large
            enough, and dropped when nobody uses them for a month. No query needs you to make one.
          </Empty>
        )}
        {data !== undefined && data.indexes.length > 0 && (
          <IndexTable indexes={data.indexes} onPin={pin} onDrop={setDropping} />
        )}
        {data !== undefined && data.nextPageToken !== null && (
          <div className="row" style={{ padding: 14, justifyContent: "center" }}>
            <Button variant="default" loading={busy} onClick={more}>
              Load more
            </Button>
          </div>
        )}
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
            reload();
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
          onClose={(made) => {
            setMaking(false);
            if (made) reload();
          }}
        />
      )}
    </>
  );
}

function IndexTable({
  indexes,
  onPin,
  onDrop,
}: {
  indexes: readonly Index[];
  onPin: (index: Index) => void;
  onDrop: (index: Index) => void;
}): ReactNode {
  return (
    <table className="grid still indexes-grid">
      <caption className="sr-only">Indexes</caption>
      <thead>
        <tr>
          {["Collection and fields", "State", "Uses", "Last used", ""].map((name) => (
            <th key={name} scope="col">
              <span>{name === "" ? <span className="sr-only">Actions</span> : name}</span>
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {indexes.map((index) => (
          <tr key={index.id}>
            <td>
              <code className="muted">#{index.id}</code> <DefinitionText definition={index} />
            </td>
            <td>
              <span
                className="badge"
                data-tone={index.state === "ready" ? "good" : "warn"}
                title={`${index.scanned.toLocaleString("en")} documents were looked at to build it`}
              >
                {index.state === "ready"
                  ? "ready"
                  : `building, ${index.scanned.toLocaleString("en")} documents`}
              </span>
              {index.pinned && <span className="badge">pinned</span>}
            </td>
            <td data-name="uses" title="Since the server's start">
              {index.uses.toLocaleString("en")}
            </td>
            <td className="muted" data-name="last" title={index.used ?? undefined}>
              {index.used === null ? "never" : shortTime(index.used)}
            </td>
            <td className="acts">
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
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

const NEW_FIELD: IndexField = { field: "", direction: "asc", array: false };

function NewIndex({
  project,
  database,
  onClose,
}: {
  project: string;
  database: string;
  onClose: (made: boolean) => void;
}): ReactNode {
  const [collection, setCollection] = useState("");
  const [scope, setScope] = useState("collection");
  const [fields, setFields] = useState<readonly IndexField[]>([NEW_FIELD]);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const set = (at: number, field: IndexField) =>
    setFields(fields.map((old, index) => (index === at ? field : old)));

  async function submit(event: FormEvent): Promise<void> {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      const named = fields.map((one) => ({ ...one, field: one.field.trim() }));
      await buildIndex(project, database, { collection: collection.trim(), scope, fields: named });
      toast("The index is being built");
      onClose(true);
    } catch (failure) {
      setError(failure);
      setBusy(false);
    }
  }

  return (
    <Dialog onClose={() => onClose(false)} title="Build an index, and keep it" size="md">
      <form className="stack" onSubmit={submit}>
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
        {fields.map((field, at) => (
          <fieldset className="clause row" key={at} aria-label={`Field ${at + 1}`}>
            <FieldInput
              label="Field"
              value={field.field}
              names={[]}
              onChange={(name) => set(at, { ...field, field: name })}
            />
            <NativeSelect
              aria-label="Kind"
              value={field.array ? "array" : field.direction}
              onChange={(event) => {
                const kind = event.currentTarget.value;
                set(at, {
                  ...field,
                  array: kind === "array",
                  direction: kind === "desc" ? "desc" : "asc",
                });
              }}
              data={[
                { value: "asc", label: "↑ ascending" },
                { value: "desc", label: "↓ descending" },
                { value: "array", label: "elements of an array" },
              ]}
            />
            {fields.length > 1 && (
              <IconAction
                label={`Remove field ${at + 1}`}
                onClick={() => setFields(fields.filter((_, index) => index !== at))}
              >
                <IconX size={15} />
              </IconAction>
            )}
          </fieldset>
        ))}
        <div>
          <Button
            variant="subtle"
            color="gray"
            size="compact-xs"
            leftSection={<IconPlus size={14} />}
            onClick={() => setFields([...fields, NEW_FIELD])}
          >
            Field
          </Button>
        </div>
        {error !== null && (
          <p className="error-text" role="alert">
            {messageOf(error)}
          </p>
        )}
        <div className="form-actions">
          <Button variant="default" onClick={() => onClose(false)}>
            Cancel
          </Button>
          <Button
            type="submit"
            loading={busy}
            disabled={collection.trim() === "" || fields.some((one) => one.field.trim() === "")}
          >
            Build index
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
