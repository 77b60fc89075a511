import { Button, TextInput } from "@mantine/core";
import { type FormEvent, type ReactNode, useState } from "react";
import { isReason, messageOf } from "../api/client";
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
import { Dialog } from "./Dialog";
import {
  type Draft,
  draftOf,
  FieldsEditor,
  finishedFields,
  isDirty,
  ModeSwitch,
} from "./FieldsEditor";
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
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);
  const dirty = isDirty(draft, fields);
  useGuard(dirty, "The new document", () => true);

  const inside = collection ?? [...parent, ...splitPath(collectionText)];
  const fault = collection === null && collectionText !== "" ? faultOfCollection(inside) : null;
  const idFault = faultOfId(id);

  async function submit(event: FormEvent): Promise<void> {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      const path = [...inside, id];
      await setDocument(project, database, path, finishedFields(draft), null);
      toast(`${id} is created`);
      onClose(true);
      // After the guard is gone with the dialog.
      setTimeout(() => navigate(dataHash(project, database, path)));
    } catch (failure) {
      setError(
        isReason(failure, "DocumentExists")
          ? "There is a document of this id already."
          : messageOf(failure),
      );
      setBusy(false);
    }
  }

  function close(): void {
    if (dirty && !window.confirm("Discard the new document?")) return;
    onClose(false);
  }

  return (
    <Dialog
      onClose={close}
      title={collection === null ? "Start a collection" : "New document"}
      size={620}
    >
      <div className="stack">
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
        {error !== null && (
          <p className="error-text" role="alert">
            {error}
          </p>
        )}
        <form className="form-actions" onSubmit={submit}>
          <Button variant="default" onClick={close}>
            Cancel
          </Button>
          <Button
            type="submit"
            loading={busy}
            disabled={idFault !== null || fault !== null || !isCollection(inside)}
          >
            Create document
          </Button>
        </form>
      </div>
    </Dialog>
  );
}

function faultOfCollection(path: Segments): string | null {
  if (!isCollection(path)) return "this leads to a document; a collection is one id, or id/id/id";
  return faultOfPath(path);
}
