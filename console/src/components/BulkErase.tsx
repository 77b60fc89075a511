/** Erases what every document of a query was, as a job of the server. */

import { Checkbox } from "@mantine/core";
import { type ReactNode, useState } from "react";
import { eraseByQuery } from "../api/jobs";
import { writeJson } from "../model/json";
import { pageHash } from "../model/routes";
import { navigate } from "../navigation";
import type { BulkProps } from "./BulkUpdate";
import { FormDialog } from "./FormDialog";
import { toast } from "./feedback";

export function BulkErase({ project, database, query, count, onClose }: BulkProps): ReactNode {
  const [present, setPresent] = useState(false);
  const [deleted, setDeleted] = useState(false);
  const collection = String(query.collection);

  async function start(): Promise<void> {
    await eraseByQuery(project, database, query, present, deleted);
    toast("The erasure has begun");
    navigate(pageHash(project, "jobs"));
  }

  return (
    <FormDialog
      title="Erase what every document of the query was"
      action="Erase for ever"
      danger
      hasInputs={false}
      typed={collection}
      onSubmit={start}
      onClose={onClose}
    >
      <p>
        Every version that history holds of{" "}
        {count === null ? "all documents" : `${count.toLocaleString("en")} documents`} of{" "}
        <code className="breaks">{collection}</code> that match the filters is removed from the
        server's files, chunk by chunk. Order, start, end, limit and fields play no part.
      </p>
      <pre className="snippet" tabIndex={0}>
        {query.where === undefined ? "no filters" : writeJson(query.where, 2)}
      </pre>
      <ul className="facts">
        <li>Nothing brings it back. Backups hold what they held.</li>
        <li>Who erased it, and when, stays on record.</li>
      </ul>
      <Checkbox
        label="Delete the documents as they are now, too"
        description="Otherwise they stay, with no past."
        checked={present}
        onChange={(event) => setPresent(event.currentTarget.checked)}
      />
      <Checkbox
        label="Erase what deleted documents were, too"
        description="Those that matched when they were deleted, and are not there."
        checked={deleted}
        onChange={(event) => setDeleted(event.currentTarget.checked)}
      />
    </FormDialog>
  );
}
