/** What can be done with a document, and the dialogs in which it is done. */

import { Menu } from "@mantine/core";
import {
  IconCopy,
  IconCopyPlus,
  IconDotsVertical,
  IconEraser,
  IconHistory,
  IconPlus,
  IconShieldCheck,
  IconTrash,
  IconTrashX,
} from "@tabler/icons-react";
import { type ReactNode } from "react";
import { deleteDocument, setDocument } from "../api/documents";
import type { Document } from "../api/listen";
import { writeJson } from "../model/json";
import { dataHash, historyHash, rulesHash } from "../model/routes";
import { encodeFields, type Fields } from "../model/values";
import { navigate } from "../navigation";
import type { DataRoute } from "../pages/DataPage";
import { Confirm } from "./Confirm";
import { IconAction } from "./controls";
import { DeleteRecursive } from "./DeleteRecursive";
import { EraseDialog } from "./EraseDialog";
import { toast, toastError, toastUndo } from "./feedback";
import { NewDocument } from "./NewDocument";

export type DocumentDialog = "delete" | "erase" | "recursive" | "duplicate" | "subcollection";

export function DocumentMenu({
  route: { project, database, path },
  live,
  fields,
  onDialog,
}: {
  route: DataRoute;
  live: Document | null;
  /** As they are edited. */
  fields: Fields;
  onDialog: (dialog: DocumentDialog) => void;
}): ReactNode {
  return (
    <Menu position="bottom-end">
      <Menu.Target>
        <IconAction label="Document actions">
          <IconDotsVertical size={16} />
        </IconAction>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Item
          leftSection={<IconCopy size={15} />}
          onClick={() => copyText(writeJson(encodeFields(fields), 2))}
        >
          Copy JSON
        </Menu.Item>
        <Menu.Item leftSection={<IconCopyPlus size={15} />} onClick={() => onDialog("duplicate")}>
          Duplicate…
        </Menu.Item>
        <Menu.Item leftSection={<IconPlus size={15} />} onClick={() => onDialog("subcollection")}>
          Start a subcollection…
        </Menu.Item>
        <Menu.Item
          leftSection={<IconShieldCheck size={15} />}
          onClick={() =>
            navigate(rulesHash(project, "editor", { tried: { database, path: path.join("/") } }))
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
          onClick={() => onDialog("erase")}
        >
          Erase its history…
        </Menu.Item>
        <Menu.Item
          color="var(--danger)"
          leftSection={<IconTrash size={15} />}
          disabled={live === null}
          onClick={() => onDialog("delete")}
        >
          Delete…
        </Menu.Item>
        <Menu.Item
          color="var(--danger)"
          leftSection={<IconTrashX size={15} />}
          onClick={() => onDialog("recursive")}
        >
          Delete with everything below…
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}

export function DocumentDialogs({
  route: { project, database, path, view },
  live,
  fields,
  dialog,
  onDialog,
}: {
  route: DataRoute;
  live: Document | null;
  fields: Fields;
  dialog: DocumentDialog | null;
  onDialog: (dialog: DocumentDialog | null) => void;
}): ReactNode {
  const close = () => onDialog(null);
  return (
    <>
      {dialog === "delete" && live !== null && (
        <DeleteDialog
          path={path.join("/")}
          onClose={close}
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
          onClose={close}
        />
      )}
      {dialog === "recursive" && (
        <DeleteRecursive project={project} database={database} path={path} onClose={close} />
      )}
      {(dialog === "duplicate" || dialog === "subcollection") && (
        <NewDocument
          project={project}
          database={database}
          collection={dialog === "duplicate" ? path.slice(0, -1) : null}
          {...(dialog === "subcollection" ? { parent: path } : { fields: fields })}
          {...(live === null && dialog === "duplicate" ? { id: path.at(-1) as string } : {})}
          onClose={close}
        />
      )}
    </>
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

function copyText(text: string): void {
  navigator.clipboard.writeText(text).then(
    () => toast("Copied"),
    (error: unknown) => toastError("Not copied", error),
  );
}
