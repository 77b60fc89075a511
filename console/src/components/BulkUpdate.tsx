/** One update to every document of a query, as a job of the server. */

import { Textarea, TextInput } from "@mantine/core";
import { type ReactNode, useState } from "react";
import { updateByQuery } from "../api/jobs";
import { splitFields } from "../model/builder";
import { type JsonObject, parseJson, writeJson } from "../model/json";
import { pageHash } from "../model/routes";
import { decodeFields, encodeFields } from "../model/values";
import { navigate } from "../navigation";
import { FormDialog } from "./FormDialog";
import { toast } from "./feedback";

/** What is done to every document of a query. */
export interface BulkProps {
  project: string;
  database: string;
  query: JsonObject;
  /** How many documents match now; null: not known. */
  count: number | null;
  onClose: () => void;
}

export function BulkUpdate({ project, database, query, count, onClose }: BulkProps): ReactNode {
  const [text, setText] = useState("{}");
  const [removed, setRemoved] = useState("");
  const collection = String(query.collection);

  async function start(): Promise<void> {
    const fields = fieldsOf(text);
    const remove = splitFields(removed);
    if (Object.keys(fields).length === 0 && remove.length === 0)
      throw new Error("Name at least one field to set or to remove");
    await updateByQuery(project, database, query, fields, remove);
    toast("The update has begun");
    navigate(pageHash(project, "jobs"));
  }

  return (
    <FormDialog
      title="Update every document of the query"
      action="Update the documents"
      typed={collection}
      onSubmit={start}
      onClose={onClose}
    >
      <p>
        {count === null ? "All documents" : `${count.toLocaleString("en")} documents`} of{" "}
        <code>{collection}</code> that match the filters are updated, chunk by chunk; not all at
        once, and past the rules. Order, start, end, limit and fields play no part.
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
    </FormDialog>
  );
}

/** Throws an Error that says where the JSON is wrong. Values keep their types, `4.0` is a double. */
function fieldsOf(text: string): JsonObject {
  const { tree } = parseJson(text.trim() === "" ? "{}" : text);
  if (tree === null || typeof tree !== "object" || Array.isArray(tree))
    throw new Error("The fields must be a JSON object");
  return encodeFields(decodeFields(tree));
}
