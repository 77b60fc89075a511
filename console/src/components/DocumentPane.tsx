import { Button, Menu } from "@mantine/core";
import {
  IconAlertTriangle,
  IconCopy,
  IconCopyPlus,
  IconDotsVertical,
  IconEraser,
  IconFileOff,
  IconFolder,
  IconHistory,
  IconPlus,
  IconShieldCheck,
  IconTrash,
  IconTrashX,
  IconX,
} from "@tabler/icons-react";
import { type ReactNode, useCallback, useEffect, useMemo, useRef, useState } from "react";
import { listCollections } from "../api/admin";
import { ApiError, isConflict, messageOf } from "../api/client";
import { deleteDocument, setDocument } from "../api/documents";
import { useLoaded, useTarget } from "../api/hooks";
import type { Document } from "../api/listen";
import { changesBetween, mergeFields } from "../model/drafts";
import { shortTime } from "../model/inputs";
import { writeJson } from "../model/json";
import { dataHash, historyHash, referenceHash, rulesHash } from "../model/routes";
import { encodeFields, type Fields, isSameFields } from "../model/values";
import { navigate, useGuard } from "../navigation";
import type { DataRoute } from "../pages/DataPage";
import { Confirm } from "./Confirm";
import { Copy, IconAction } from "./controls";
import { DeleteRecursive } from "./DeleteRecursive";
import { EraseDialog } from "./EraseDialog";
import {
  type Draft,
  draftOf,
  FieldsEditor,
  finishedFields,
  isDirty,
  ModeSwitch,
} from "./FieldsEditor";
import { Empty, Failed, Loading, toast, toastError, toastUndo } from "./feedback";
import { NewDocument } from "./NewDocument";

const NONE: Fields = new Map();

/** One live document with its subcollections. Its key is its path, so edits never change owner. */
export function DocumentPane({ route }: { route: DataRoute }): ReactNode {
  const { project, database, path, view } = route;
  const name = path.join("/");
  const spec = useMemo(() => ({ documents: [name] }), [name]);
  const { state } = useTarget(spec);
  const live = state.status === "live" ? (state.documents[0] ?? null) : undefined;
  const closeHref = dataHash(project, database, path.slice(0, -1), view);
  return (
    <section className="pane document" aria-label={`Document ${path.at(-1)}`}>
      {state.status === "failed" && (
        <Failed
          title="The document cannot be shown"
          error={new ApiError(0, state.error.code, state.error.reason, state.error.message)}
        />
      )}
      {live === undefined && state.status !== "failed" && (
        <Loading label="Loading the document" late="Waiting for the live connection" />
      )}
      {live !== undefined && <Editor route={route} live={live} closeHref={closeHref} />}
    </section>
  );
}

function Editor({
  route,
  live,
  closeHref,
}: {
  route: DataRoute;
  live: Document | null;
  closeHref: string;
}): ReactNode {
  const { project, database, path, view } = route;
  // What the edits started from; follows the live document while there are none.
  const [base, setBase] = useState(live);
  const [draft, setDraft] = useState<Draft>(() => draftOf(live?.fields ?? NONE));
  const [fresh, setFresh] = useState<ReadonlySet<string>>(new Set());
  const [busy, setBusy] = useState(false);
  const [dialog, setDialog] = useState<
    "delete" | "erase" | "recursive" | "duplicate" | "subcollection" | null
  >(null);
  const [conflicts, setConflicts] = useState<readonly string[]>([]);
  const baseFields = base?.fields ?? NONE;
  const dirty = isDirty(draft, baseFields);
  // After a save the listener still holds the old version for a moment: no news, not to be shown.
  const [outdated, setOutdated] = useState<Document | null | undefined>(undefined);
  const latest = useRef(live);
  latest.current = live;
  const isBehind = live !== outdated && (live?.updateTime ?? null) !== (base?.updateTime ?? null);

  // While there are no edits the newest version is shown. What was just saved comes back as news
  // of our own, with the same fields, and must not close a row that is being edited meanwhile.
  if (isBehind && !busy) {
    const theirs = live?.fields ?? NONE;
    if (!dirty || isSameFields(theirs, baseFields)) {
      const changed = changesBetween(baseFields, theirs).map((change) => change.name);
      if (base !== null) setFresh(new Set(changed));
      setBase(live);
      if (changed.length > 0) setDraft(draftOf(theirs, draft.mode));
    }
  }

  useGuard(
    dirty,
    `The changes to ${path.at(-1)}`,
    (next) => next.page !== "data" || next.path.join("/") !== path.join("/"),
  );

  const save = useCallback(async () => {
    setBusy(true);
    setConflicts([]);
    try {
      const fields = finishedFields(draft);
      const updateTime = await setDocument(
        project,
        database,
        path,
        fields,
        base?.updateTime ?? null,
      );
      const createTime = base?.createTime ?? updateTime;
      if (latest.current?.updateTime !== updateTime) setOutdated(latest.current);
      setBase({ path: path.join("/"), fields, createTime, updateTime });
      setDraft(draftOf(fields, draft.mode));
      setFresh(new Set());
      toast(`${path.at(-1)} is saved`);
    } catch (error) {
      if (isConflict(error))
        toastError(
          "Not saved: somebody else changed this document",
          new Error("your changes are still here; see above the fields how to go on"),
        );
      else toastError("Not saved", error);
    }
    setBusy(false);
  }, [draft, base, project, database, path]);

  useSaveKey(dirty && !busy, save);

  function discard(): void {
    setBase(live);
    setDraft(draftOf(live?.fields ?? NONE, draft.mode));
    setConflicts([]);
  }

  function keepMine(): void {
    try {
      const mine = finishedFields(draft);
      const merge = mergeFields(baseFields, mine, live?.fields ?? NONE);
      setBase(live);
      setDraft(draftOf(live === null ? mine : merge.fields, draft.mode));
      setConflicts(live === null ? [] : merge.conflicts);
    } catch (error) {
      toastError("Finish the open edit first", error);
    }
  }

  return (
    <>
      <header className="pane-head">
        <h2 className="truncate mono" title={path.join("/")}>
          {path.at(-1)}
        </h2>
        <span className="grow">
          <Copy text={path.join("/")} label="Copy path" />
        </span>
        <ModeSwitch
          draft={draft}
          onChange={setDraft}
          onError={(error) => toastError("The fields are not valid yet", error)}
        />
        <Menu position="bottom-end">
          <Menu.Target>
            <IconAction label="Document actions">
              <IconDotsVertical size={16} />
            </IconAction>
          </Menu.Target>
          <Menu.Dropdown>
            <Menu.Item
              leftSection={<IconCopy size={15} />}
              onClick={() => copyText(writeJson(encodeFields(draft.fields), 2))}
            >
              Copy JSON
            </Menu.Item>
            <Menu.Item
              leftSection={<IconCopyPlus size={15} />}
              onClick={() => setDialog("duplicate")}
            >
              Duplicate…
            </Menu.Item>
            <Menu.Item
              leftSection={<IconPlus size={15} />}
              onClick={() => setDialog("subcollection")}
            >
              Start a subcollection…
            </Menu.Item>
            <Menu.Item
              leftSection={<IconShieldCheck size={15} />}
              onClick={() =>
                navigate(
                  rulesHash(project, "editor", { tried: { database, path: path.join("/") } }),
                )
              }
            >
              Try the rules on it
            </Menu.Item>
            <Menu.Item
              leftSection={<IconHistory size={15} />}
              onClick={() => navigate(historyHash(project, database, path))}
            >
              History
            </Menu.Item>
            <Menu.Divider />
            <Menu.Item
              color="var(--danger)"
              leftSection={<IconEraser size={15} />}
              onClick={() => setDialog("erase")}
            >
              Erase its history…
            </Menu.Item>
            <Menu.Item
              color="var(--danger)"
              leftSection={<IconTrash size={15} />}
              disabled={live === null}
              onClick={() => setDialog("delete")}
            >
              Delete…
            </Menu.Item>
            <Menu.Item
              color="var(--danger)"
              leftSection={<IconTrashX size={15} />}
              onClick={() => setDialog("recursive")}
            >
              Delete with everything below…
            </Menu.Item>
          </Menu.Dropdown>
        </Menu>
        <IconAction label="Close document" onClick={() => navigate(closeHref)}>
          <IconX size={17} />
        </IconAction>
      </header>
      {dirty && isBehind && !busy && (
        <ConflictBanner base={base} live={live} onKeep={keepMine} onDiscard={discard} />
      )}
      {conflicts.length > 0 && (
        <div className="banner" role="status">
          <IconAlertTriangle />
          <span className="grow">
            Both changed <code>{conflicts.join(", ")}</code>; your values are shown. Look before you
            save.
          </span>
        </div>
      )}
      <Subcollections route={route} onStart={() => setDialog("subcollection")} />
      <div className="pane-body">
        {live === null && base === null && draft.fields.size === 0 && draft.edit === null ? (
          <Empty
            icon={<IconFileOff />}
            title="There is no document here"
            action={
              <Button variant="default" onClick={() => setDialog("duplicate")}>
                Create it
              </Button>
            }
          >
            It was deleted, or only its subcollections exist.
          </Empty>
        ) : (
          <FieldsEditor
            draft={draft}
            base={baseFields}
            fresh={fresh}
            hrefOf={(reference) => referenceHash(project, database, reference)}
            onChange={setDraft}
          />
        )}
      </div>
      {dirty ? (
        <div className="save-bar">
          <span className="grow truncate">{describe(draft, baseFields)}</span>
          <Button variant="default" onClick={discard}>
            Discard
          </Button>
          <Button onClick={save} loading={busy} disabled={isBehind}>
            Save
          </Button>
        </div>
      ) : (
        base !== null && (
          <div className="pane-foot">
            <span className="truncate" title={base.updateTime}>
              Updated {shortTime(base.updateTime)}
            </span>
            <span className="truncate" title={base.createTime}>
              Created {shortTime(base.createTime)}
            </span>
          </div>
        )
      )}
      {dialog === "delete" && live !== null && (
        <DeleteDialog
          path={path.join("/")}
          onClose={() => setDialog(null)}
          onConfirm={async () => {
            await deleteDocument(project, database, path, live.updateTime);
            toastUndo(`${path.at(-1)} is deleted`, async () => {
              await setDocument(project, database, path, live.fields, null);
              toast(`${path.at(-1)} is there again`);
            });
            navigate(dataHash(project, database, path.slice(0, -1), view));
          }}
        />
      )}
      {dialog === "erase" && (
        <EraseDialog
          project={project}
          database={database}
          path={path}
          onErased={() => undefined}
          onClose={() => setDialog(null)}
        />
      )}
      {dialog === "recursive" && (
        <DeleteRecursive
          project={project}
          database={database}
          path={path}
          onClose={() => setDialog(null)}
        />
      )}
      {(dialog === "duplicate" || dialog === "subcollection") && (
        <NewDocument
          project={project}
          database={database}
          collection={dialog === "duplicate" ? path.slice(0, -1) : null}
          {...(dialog === "subcollection" ? { parent: path } : { fields: draft.fields })}
          {...(live === null && dialog === "duplicate" ? { id: path.at(-1) as string } : {})}
          onClose={() => setDialog(null)}
        />
      )}
    </>
  );
}

function describe(draft: Draft, base: Fields): string {
  try {
    const changes = changesBetween(base, finishedFields(draft));
    const names = changes.map((change) => change.name).join(", ");
    return `Changed: ${names === "" ? "nothing yet" : names}`;
  } catch (error) {
    return messageOf(error);
  }
}

function ConflictBanner({
  base,
  live,
  onKeep,
  onDiscard,
}: {
  base: Document | null;
  live: Document | null;
  onKeep: () => void;
  onDiscard: () => void;
}): ReactNode {
  const theirs = changesBetween(base?.fields ?? NONE, live?.fields ?? NONE);
  return (
    <div className="banner" role="alert">
      <IconAlertTriangle />
      <span className="say">
        {live === null ? (
          "Somebody deleted this document while you were editing it."
        ) : (
          <>
            Somebody changed <code>{theirs.map((change) => change.name).join(", ")}</code> while you
            were editing.
          </>
        )}
      </span>
      <Button size="compact-sm" variant="default" onClick={onDiscard}>
        {live === null ? "Discard mine" : "Show theirs, discard mine"}
      </Button>
      <Button size="compact-sm" onClick={onKeep}>
        {live === null ? "Keep mine, create it again" : "Keep my changes on top"}
      </Button>
    </div>
  );
}

function Subcollections({ route, onStart }: { route: DataRoute; onStart: () => void }): ReactNode {
  const { project, database, path } = route;
  const name = path.join("/");
  const loaded = useLoaded(`subcollections ${project} ${database} ${name}`, () =>
    listCollections(project, database, name),
  );
  if (loaded.data === undefined || loaded.data.length === 0) return null;
  return (
    <nav className="subs" aria-label="Subcollections">
      {loaded.data.map((id) => (
        <a key={id} className="sub" href={dataHash(project, database, [...path, id])} title={id}>
          <IconFolder aria-hidden /> <span className="truncate">{id}</span>
        </a>
      ))}
      <IconAction label="Start a subcollection" size={24} onClick={onStart}>
        <IconPlus size={14} />
      </IconAction>
    </nav>
  );
}

function DeleteDialog({
  path,
  onConfirm,
  onClose,
}: {
  path: string;
  onConfirm: () => Promise<void>;
  onClose: () => void;
}): ReactNode {
  return (
    <Confirm
      title="Delete this document?"
      action="Delete document"
      danger
      onConfirm={onConfirm}
      onClose={onClose}
    >
      <p>
        <code>{path}</code> is deleted for every app at once. Its subcollections stay. Its history
        keeps it for a while.
      </p>
    </Confirm>
  );
}

function useSaveKey(active: boolean, save: () => void): void {
  useEffect(() => {
    function press(event: KeyboardEvent): void {
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "s") {
        event.preventDefault();
        if (active) save();
      }
    }
    window.addEventListener("keydown", press);
    return () => window.removeEventListener("keydown", press);
  }, [active, save]);
}

function copyText(text: string): void {
  navigator.clipboard.writeText(text).then(
    () => toast("Copied"),
    (error: unknown) => toastError("Not copied", error),
  );
}
