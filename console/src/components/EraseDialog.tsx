/** Removes what a document was from history for good, and tells what came of it. */

import { Button, Checkbox } from "@mantine/core";
import { type ReactNode, useState } from "react";
import { type Erasure, eraseDocument } from "../api/history";
import type { Segments } from "../model/paths";
import { databaseHash } from "../model/routes";
import { Dialog } from "./Dialog";
import { FormDialog } from "./FormDialog";

export function EraseDialog({
  project,
  database,
  path,
  onErased,
  onClose,
}: {
  project: string;
  database: string;
  path: Segments;
  onErased: () => void;
  onClose: () => void;
}): ReactNode {
  const [present, setPresent] = useState(false);
  const [made, setMade] = useState<Erasure | null>(null);
  if (made !== null)
    return (
      <Dialog
        onClose={onClose}
        title={made.images === null ? "The erasure broke off" : "Erased"}
        size="sm"
      >
        <div className="stack">
          <Outcome erasure={made} />
          <p className="muted">
            It is on record{" "}
            <a className="link" href={databaseHash(project, "expiry", database)} onClick={onClose}>
              with all erasures
            </a>
            . Backups made before still hold the versions: delete those that must not.
          </p>
          <div className="form-actions">
            <Button onClick={onClose} data-autofocus>
              Done
            </Button>
          </div>
        </div>
      </Dialog>
    );
  return (
    <FormDialog
      title="Erase what this document was?"
      action="Erase for ever"
      size="sm"
      danger
      hasInputs={false}
      typed={path.at(-1) ?? ""}
      onClose={onClose}
      onSubmit={async () => {
        setMade(await eraseDocument(project, database, path, present));
        onErased();
        return false;
      }}
    >
      <p>
        Every version that history holds of <code className="breaks">{path.join("/")}</code> is
        removed from the server's files, and cannot be read or restored any more.
      </p>
      <ul className="facts">
        <li>Nothing brings it back. Backups hold what they held.</li>
        <li>Documents below it stay, with their history.</li>
        <li>Who erased it, and when, stays on record.</li>
      </ul>
      <Checkbox
        label="Delete the document as it is now, too"
        description="Otherwise it stays, with no past."
        checked={present}
        onChange={(event) => setPresent(event.currentTarget.checked)}
      />
    </FormDialog>
  );
}

function Outcome({ erasure }: { erasure: Erasure }): ReactNode {
  const { images, path, present } = erasure;
  if (images === null)
    return (
      <p className="error-text" role="alert">
        It is not certain that every version of <code className="breaks">{path}</code> is gone:
        erase it again.
      </p>
    );
  return (
    <p role="status">
      {images === 1 ? "One version" : `${images.toLocaleString("en")} versions`} of{" "}
      <code className="breaks">{path}</code>{" "}
      {present ? "and the document itself are gone." : "are gone; the document as it is stays."}
    </p>
  );
}
