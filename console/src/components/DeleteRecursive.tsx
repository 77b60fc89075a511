import type { ReactNode } from "react";
import { deleteRecursive } from "../api/jobs";
import type { Segments } from "../model/paths";
import { pageHash } from "../model/routes";
import { navigate } from "../navigation";
import { Confirm } from "./Confirm";
import { toast } from "./feedback";

/** Asks before a document or a collection goes with everything below, and starts the job. */
export function DeleteRecursive({
  project,
  database,
  path,
  onClose,
}: {
  project: string;
  database: string;
  path: Segments;
  onClose: () => void;
}): ReactNode {
  const name = path.at(-1) ?? "";
  return (
    <Confirm
      title="Delete with everything below?"
      action="Delete all of it"
      danger
      typed={name}
      onClose={onClose}
      onConfirm={async () => {
        await deleteRecursive(project, database, path.join("/"));
        toast("The deletion has begun");
        navigate(pageHash(project, "jobs"));
      }}
    >
      <p>
        <code className="breaks">{path.join("/")}</code>, every document in it and every
        subcollection is deleted, chunk by chunk, as a job that can be ended but not undone.
      </p>
    </Confirm>
  );
}
