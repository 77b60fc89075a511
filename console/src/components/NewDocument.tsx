import { TextInput } from "@mantine/core";
import { type ReactNode, useRef, useState } from "react";
import { isReason } from "../api/client";
import { setDocument } from "../api/documents";
import {
  faultOfId,
  faultOfPath,
  isCollection,
  newId,
  type Segments,
  splitPath,
} from "../model/paths";
import { dataHash } from "../model/routes";
import type { Fields } from "../model/values";
import { navigate, useGuard } from "../navigation";
import {
  type Draft,
  draftOf,
  FieldsEditor,
  finishedFields,
  isDirty,
  ModeSwitch,
} from "./FieldsEditor";
import { FormDialog } from "./FormDialog";
import { toast, toastError } from "./feedback";

const NONE: Fields = new Map();

/** Creates a document; with `collection` null or given but empty, the collection is asked for too. */
export function NewDocument({
  project,
  database,
  collection,
  parent = [],
  fields = NONE,
  id: given,
  onClose,
}: {
  project: string;
  database: string;
  collection: Segments | null;
  /** The document under which a new collection starts. */
  parent?: Segments;
  /** What to start from, as a duplicate does. */
  fields?: Fields;
  id?: string;
  onClose: (made: boolean) => void;
}): ReactNode {
  const [collectionText, setCollectionText] = useState("");
  const [id, setId] = useState(() => given ?? newId());
  const [draft, setDraft] = useState<Draft>(() => draftOf(fields));
  const isMade = useRef(false);
  const dirty = isDirty(draft, fields);
  useGuard(dirty, "The new document", () => true);

  const inside = collection ?? [...parent, ...splitPath(collectionText)];
  const fault = collection === null && collectionText !== "" ? faultOfCollection(inside) : null;
  const idFault = faultOfId(id);

  async function create(): Promise<void> {
    const path = [...inside, id];
    try {
      await setDocument(project, database, path, finishedFields(draft), null);
    } catch (failure) {
      if (!isReason(failure, "DocumentExists")) throw failure;
      throw new Error("There is a document of this id already.", { cause: failure });
    }
    toast(`${id} is created`);
    isMade.current = true;
    // After the guard is gone with the dialog.
    setTimeout(() => navigate(dataHash(project, database, path)));
  }

  function close(): void {
    if (!isMade.current && dirty && !window.confirm("Discard the new document?")) return;
    onClose(isMade.current);
  }

  return (
    <FormDialog
      title={collection === null ? "Start a collection" : "New document"}
      action="Create document"
      size={620}
      isApart
      disabled={idFault !== null || fault !== null || !isCollection(inside)}
      onSubmit={create}
      onClose={close}
    >
      {collection === null ? (
        <TextInput
          label="Collection id"
          description={parent.length === 0 ? undefined : `Under ${parent.join("/")}`}
          placeholder="cities"
          value={collectionText}
          onChange={(event) => setCollectionText(event.currentTarget.value)}
          error={fault}
          data-autofocus
          spellCheck={false}
          autoComplete="off"
          styles={{ input: { fontFamily: "var(--mono)" } }}
        />
      ) : (
        <p className="muted">
          In <code>{collection.join("/")}</code>
        </p>
      )}
      <TextInput
        label="Document id"
        value={id}
        onChange={(event) => setId(event.currentTarget.value)}
        error={id === "" ? null : idFault}
        data-autofocus={collection !== null}
        onFocus={(event) => event.currentTarget.select()}
        spellCheck={false}
        autoComplete="off"
        styles={{ input: { fontFamily: "var(--mono)" } }}
      />
      <div>
        <div className="row" style={{ marginBottom: 6 }}>
          <h2 className="grow">Fields</h2>
          <ModeSwitch
            draft={draft}
            onChange={setDraft}
            onError={(failure) => toastError("The fields are not valid yet", failure)}
          />
        </div>
        <div className="card new-fields">
          <FieldsEditor draft={draft} base={fields} onChange={setDraft} />
        </div>
      </div>
    </FormDialog>
  );
}

function faultOfCollection(path: Segments): string | null {
  if (!isCollection(path)) return "this leads to a document; a collection is one id, or id/id/id";
  return faultOfPath(path);
}
