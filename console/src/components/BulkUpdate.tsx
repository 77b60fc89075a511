/** One update to every document of a query, as a job of the server. */

import { Button, Textarea, TextInput } from "@mantine/core";
import { type FormEvent, type ReactNode, useState } from "react";
import { messageOf } from "../api/client";
import { updateByQuery } from "../api/jobs";
import { splitFields } from "../model/builder";
import { type JsonObject, parseJson, writeJson } from "../model/json";
import { pageHash } from "../model/routes";
import { decodeFields, encodeFields } from "../model/values";
import { navigate } from "../navigation";
import { Dialog } from "./Dialog";
import { toast } from "./feedback";

export function BulkUpdate({
  project,
  database,
  query,
  count,
  onClose,
}: {
  project: string;
  database: string;
  query: JsonObject;
  /** How many documents match now; null: not known. */
  count: number | null;
  onClose: () => void;
}): ReactNode {
  const [text, setText] = useState("{}");
  const [removed, setRemoved] = useState("");
  const [typed, setTyped] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);
  const collection = String(query.collection);

  async function submit(event: FormEvent): Promise<void> {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      const fields = fieldsOf(text);
      const remove = splitFields(removed);
      if (Object.keys(fields).length === 0 && remove.length === 0)
        throw new Error("Name at least one field to set or to remove");
      await updateByQuery(project, database, query, fields, remove);
      toast("The update has begun");
      onClose();
      navigate(pageHash(project, "jobs"));
    } catch (failure) {
      setError(messageOf(failure));
      setBusy(false);
    }
  }

  return (
    <Dialog onClose={onClose} title="Update every document of the query" size="md">
      <form className="stack" onSubmit={submit}>
        <p>
          {count === null ? "All documents" : `${count.toLocaleString("en")} documents`} of{" "}
          <code>{collection}</code> that match the filters are updated, chunk by chunk; not all at
          once, and past the rules. Order, limit and fields play no part.
        </p>
        <pre className="snippet" tabIndex={0}>
          {query.where === undefined ? "no filters" : writeJson(query.where, 2)}
        </pre>
        <Textarea
          label="Fields to set, as JSON: field paths to values"
          value={text}
          onChange={(event) => setText(event.currentTarget.value)}
          autosize
          minRows={3}
          maxRows={12}
          spellCheck={false}
          data-autofocus
          styles={{ input: { fontFamily: "var(--mono)", fontSize: 12 } }}
        />
        <TextInput
          label="Fields to remove"
          placeholder="old, address.zip"
          value={removed}
          onChange={(event) => setRemoved(event.currentTarget.value)}
          spellCheck={false}
          styles={{ input: { fontFamily: "var(--mono)", fontSize: 12 } }}
        />
        <TextInput
          label={
            <>
              Type <code>{collection}</code> to confirm
            </>
          }
          value={typed}
          onChange={(event) => setTyped(event.currentTarget.value)}
          autoComplete="off"
          spellCheck={false}
        />
        {error !== null && (
          <p className="error-text" role="alert">
            {error}
          </p>
        )}
        <div className="form-actions">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" loading={busy} disabled={typed !== collection}>
            Update the documents
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

/** Throws an Error that says where the JSON is wrong. Values keep their types, `4.0` is a double. */
function fieldsOf(text: string): JsonObject {
  const { tree } = parseJson(text.trim() === "" ? "{}" : text);
  if (tree === null || typeof tree !== "object" || Array.isArray(tree))
    throw new Error("The fields must be a JSON object");
  return encodeFields(decodeFields(tree));
}
