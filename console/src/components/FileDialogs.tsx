/** A file's signed link, and its new name. */

import { Button, NativeSelect, TextInput } from "@mantine/core";
import { type ReactNode, useState } from "react";
import { ApiError } from "../api/client";
import { copyFile, deleteFile, type StoredFile, signFile } from "../api/files";
import { useLoaded } from "../api/hooks";
import { faultOfName, folderOf } from "../model/files";
import { filesHash } from "../model/routes";
import { navigate } from "../navigation";
import { Copy } from "./controls";
import { Dialog } from "./Dialog";
import { FormDialog, FormFailure } from "./FormDialog";
import { Loading, toast } from "./feedback";

const LIFETIMES = [
  { value: "3600", label: "1 hour" },
  { value: "86400", label: "1 day" },
  { value: "604800", label: "7 days" },
];

export function SignedLink({
  project,
  file,
  onClose,
}: {
  project: string;
  file: StoredFile;
  onClose: () => void;
}): ReactNode {
  const [seconds, setSeconds] = useState("3600");
  const loaded = useLoaded(`link ${file.name} ${file.etag} ${seconds}`, () =>
    signFile(project, file.bucket, file.name, Number(seconds)),
  );
  const url = loaded.data === undefined ? null : new URL(loaded.data, location.href).href;
  return (
    <Dialog onClose={onClose} title="Signed link">
      <div className="stack">
        <p className="muted">
          Whoever has this link can read the file until it expires, whatever the rules say. It
          cannot be taken back; deleting or renaming the file ends it.
        </p>
        <NativeSelect
          label="Expires in"
          data={LIFETIMES}
          value={seconds}
          onChange={(event) => setSeconds(event.currentTarget.value)}
        />
        {url !== null && (
          <div className="secret">
            <span className="grow" data-testid="signed-link">
              {url}
            </span>
            <Copy text={url} label="Copy link" />
          </div>
        )}
        {url === null && loaded.loading && <Loading label="Making the link" />}
        {url === null && !loaded.loading && <FormFailure error={loaded.error} />}
        <div className="form-actions">
          <Button onClick={onClose}>Done</Button>
        </div>
      </div>
    </Dialog>
  );
}

/** The new name is a copy; then the old one goes. */
export function Rename({
  project,
  file,
  onClose,
  onDone,
}: {
  project: string;
  file: StoredFile;
  onClose: () => void;
  onDone: () => void;
}): ReactNode {
  const [name, setName] = useState(file.name);
  const fault = faultOfName(name);

  async function rename(): Promise<void> {
    try {
      await copyFile(project, file.bucket, file.name, name);
    } catch (failure) {
      const isTaken = failure instanceof ApiError && failure.status === 412;
      throw isTaken ? new Error("there is a file of this name already") : failure;
    }
    await deleteFile(project, file.bucket, file.name);
    toast(`It is called ${name} now`);
    onDone();
    navigate(filesHash(project, file.bucket, folderOf(name), name));
  }

  return (
    <FormDialog
      title="Rename or move"
      action="Rename"
      disabled={fault !== null || name === file.name}
      onSubmit={rename}
      onClose={onClose}
    >
      <TextInput
        label="New name, with its folders"
        value={name}
        onChange={(event) => setName(event.currentTarget.value)}
        error={fault}
        autoComplete="off"
        spellCheck={false}
        data-autofocus
        styles={{ input: { fontFamily: "var(--mono)", fontSize: 12 } }}
      />
      <p className="muted small">
        Links to the old name end. A copy is made under the new name, then the old one is deleted.
      </p>
    </FormDialog>
  );
}
