/** One document, live: its fields, what others change of it, and what can be done with it. */

import { Button } from "@mantine/core";
import { IconFileOff, IconX } from "@tabler/icons-react";
import { type ReactNode, useMemo, useState } from "react";
import { ApiError, messageOf } from "../api/client";
import { useTarget } from "../api/hooks";
import type { Document } from "../api/listen";
import { changesBetween } from "../model/drafts";
import { shortTime } from "../model/inputs";
import { dataHash, referenceHash } from "../model/routes";
import { type Fields } from "../model/values";
import { navigate } from "../navigation";
import type { DataRoute } from "../pages/DataPage";
import { Copy, IconAction } from "./controls";
import { type DocumentDraft, useDocumentDraft } from "./documentDraft";
import { DocumentDialogs, type DocumentDialog, DocumentMenu } from "./DocumentMenu";
import { DocumentNotes, Subcollections } from "./DocumentNotes";
import { Empty, Failed, Loading, toastError } from "./feedback";
import { type Draft, FieldsEditor, finishedFields, ModeSwitch } from "./FieldsEditor";

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
  const { project, database, path } = route;
  const [dialog, setDialog] = useState<DocumentDialog | null>(null);
  const edits = useDocumentDraft(route, live);
  const { base, draft, setDraft } = edits;

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
        <DocumentMenu route={route} live={live} fields={draft.fields} onDialog={setDialog} />
        <IconAction label="Close document" onClick={() => navigate(closeHref)}>
          <IconX size={17} />
        </IconAction>
      </header>
      <DocumentNotes edits={edits} live={live} />
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
            base={base?.fields ?? NONE}
            fresh={edits.fresh}
            hrefOf={(reference) => referenceHash(project, database, reference)}
            onChange={setDraft}
          />
        )}
      </div>
      <Foot edits={edits} />
      <DocumentDialogs
        route={route}
        live={live}
        fields={draft.fields}
        dialog={dialog}
        onDialog={setDialog}
      />
    </>
  );
}

/** The way to save while there is something to be saved; else how old the document is. */
function Foot({ edits }: { edits: DocumentDraft }): ReactNode {
  const { base, draft } = edits;
  if (edits.isDirty)
    return (
      <div className="save-bar">
        <span className="grow truncate">{describe(draft, base?.fields ?? NONE)}</span>
        <Button variant="default" onClick={edits.discard}>
          Discard
        </Button>
        <Button onClick={edits.save} loading={edits.isBusy} disabled={edits.isBehind}>
          Save
        </Button>
      </div>
    );
  if (base === null) return null;
  return (
    <div className="pane-foot">
      <span className="truncate" title={base.updateTime}>
        Updated {shortTime(base.updateTime)}
      </span>
      <span className="truncate" title={base.createTime}>
        Created {shortTime(base.createTime)}
      </span>
    </div>
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
