/** One file: what it looks like, what is said of it, and what can be done with it. */

import { Button, CopyButton, Menu, NativeSelect, TextInput } from "@mantine/core";
import {
  IconCopy,
  IconDotsVertical,
  IconDownload,
  IconFileOff,
  IconLink,
  IconPencil,
  IconTrash,
  IconX,
} from "@tabler/icons-react";
import { type FormEvent, type ReactNode, useState } from "react";
import { ApiError, messageOf } from "../api/client";
import { copyFile, deleteFile, getFile, type StoredFile, signFile } from "../api/files";
import { useLoaded } from "../api/hooks";
import { baseName, faultOfName, folderOf, formatSize } from "../model/files";
import { shortTime } from "../model/inputs";
import { filesHash } from "../model/routes";
import { navigate } from "../navigation";
import type { FilesRoute } from "../pages/FilesPage";
import { Confirm } from "./Confirm";
import { Copy, IconAction } from "./controls";
import { Dialog } from "./Dialog";
import { FileMetadata } from "./FileMetadata";
import { FilePreview } from "./FilePreview";
import { Empty, Failed, Loading, toast, toastError } from "./feedback";

const DOWNLOAD_SECONDS = 300;

export function FilePane({
  route,
  bucket,
  name,
  onChange,
}: {
  route: FilesRoute;
  bucket: string;
  name: string;
  onChange: () => void;
}): ReactNode {
  const { project, folder } = route;
  const loaded = useLoaded(`file ${project} ${bucket} ${name}`, () =>
    getFile(project, bucket, name),
  );
  const closeHref = filesHash(project, bucket, folder);
  const file = loaded.data;
  const isMissing = loaded.error instanceof ApiError && loaded.error.status === 404;
  return (
    <section className="pane document" aria-label={`File ${baseName(name)}`}>
      {file === undefined && (
        <>
          <div className="pane-head">
            <h2 className="truncate grow">{baseName(name)}</h2>
            <IconAction label="Close file" onClick={() => navigate(closeHref)}>
              <IconX size={17} />
            </IconAction>
          </div>
          {loaded.loading && <Loading label="Loading the file" />}
          {!loaded.loading && isMissing && (
            <Empty icon={<IconFileOff />} title="There is no such file">
              It may have been deleted or renamed.
            </Empty>
          )}
          {!loaded.loading && !isMissing && (
            <Failed title="The file cannot be shown" error={loaded.error} onRetry={loaded.reload} />
          )}
        </>
      )}
      {file !== undefined && (
        <Shown
          route={route}
          file={file}
          closeHref={closeHref}
          onChange={onChange}
          onReload={loaded.reload}
          onSaved={(saved) => {
            loaded.setData(saved);
            onChange();
          }}
        />
      )}
    </section>
  );
}

type Asked = "delete" | "rename" | "link" | null;

function Shown({
  route,
  file,
  closeHref,
  onChange,
  onReload,
  onSaved,
}: {
  route: FilesRoute;
  file: StoredFile;
  closeHref: string;
  onChange: () => void;
  onReload: () => void;
  onSaved: (saved: StoredFile) => void;
}): ReactNode {
  const { project } = route;
  const [asked, setAsked] = useState<Asked>(null);
  const title = baseName(file.name);
  return (
    <>
      <div className="pane-head">
        <h2 className="truncate grow" title={file.name}>
          {title}
        </h2>
        <IconAction label="Download" onClick={() => download(project, file)}>
          <IconDownload size={17} />
        </IconAction>
        <Menu position="bottom-end">
          <Menu.Target>
            <IconAction label="File actions">
              <IconDotsVertical size={17} />
            </IconAction>
          </Menu.Target>
          <Menu.Dropdown>
            <CopyButton value={file.name}>
              {({ copy }) => (
                <Menu.Item
                  leftSection={<IconCopy size={15} />}
                  onClick={() => {
                    copy();
                    toast("The name is copied");
                  }}
                >
                  Copy name
                </Menu.Item>
              )}
            </CopyButton>
            <Menu.Item leftSection={<IconLink size={15} />} onClick={() => setAsked("link")}>
              Signed link…
            </Menu.Item>
            <Menu.Item leftSection={<IconPencil size={15} />} onClick={() => setAsked("rename")}>
              Rename or move…
            </Menu.Item>
            <Menu.Item
              color="var(--danger)"
              leftSection={<IconTrash size={15} />}
              onClick={() => setAsked("delete")}
            >
              Delete…
            </Menu.Item>
          </Menu.Dropdown>
        </Menu>
        <IconAction label="Close file" onClick={() => navigate(closeHref)}>
          <IconX size={17} />
        </IconAction>
      </div>
      <div className="pane-body">
        <FilePreview key={`${file.name} ${file.etag}`} project={project} file={file} />
        <Facts file={file} />
        <FileMetadata
          key={file.etag}
          project={project}
          file={file}
          onSaved={onSaved}
          onReload={onReload}
        />
      </div>
      {asked === "link" && (
        <SignedLink project={project} file={file} onClose={() => setAsked(null)} />
      )}
      {asked === "rename" && (
        <Rename project={project} file={file} onClose={() => setAsked(null)} onDone={onChange} />
      )}
      {asked === "delete" && (
        <Confirm
          title={`Delete ${title}?`}
          action="Delete file"
          danger
          onClose={() => setAsked(null)}
          onConfirm={async () => {
            await deleteFile(project, file.bucket, file.name);
            toast(`${title} is deleted`);
            onChange();
            navigate(closeHref);
          }}
        >
          <p>This cannot be undone.</p>
        </Confirm>
      )}
    </>
  );
}

function Facts({ file }: { file: StoredFile }): ReactNode {
  const sniffed = file.sniffedType;
  const differs = sniffed !== null && !(file.contentType ?? "").startsWith(sniffed);
  return (
    <dl className="facts">
      <dt>Name</dt>
      <dd className="row" style={{ gap: 2 }}>
        <code className="breaks grow">{file.name}</code>
        <Copy text={file.name} label="Copy name" />
      </dd>
      <dt>Size</dt>
      <dd>
        {formatSize(file.size)}
        {file.size >= 1024 && (
          <span className="muted"> · {file.size.toLocaleString("en")} bytes</span>
        )}
      </dd>
      {differs && (
        <>
          <dt>Looks like</dt>
          <dd>
            <span className="badge" data-tone="warn">
              {sniffed}
            </span>
          </dd>
        </>
      )}
      <dt>Created</dt>
      <dd>{shortTime(file.created)}</dd>
      <dt>Updated</dt>
      <dd>{shortTime(file.updated)}</dd>
      <dt>SHA-256</dt>
      <dd className="row" style={{ gap: 2 }}>
        <code className="truncate grow" title={file.sha256}>
          {file.sha256}
        </code>
        <Copy text={file.sha256} label="Copy SHA-256" />
      </dd>
    </dl>
  );
}

/** The browser's own download, by an address that is good for a few minutes. */
async function download(project: string, file: StoredFile): Promise<void> {
  try {
    const url = await signFile(project, file.bucket, file.name, DOWNLOAD_SECONDS);
    const link = document.createElement("a");
    link.href = `${url}&download=${encodeURIComponent(baseName(file.name))}`;
    link.download = baseName(file.name);
    document.body.append(link);
    link.click();
    link.remove();
  } catch (error) {
    toastError("The file cannot be downloaded", error);
  }
}

const LIFETIMES = [
  { value: "3600", label: "1 hour" },
  { value: "86400", label: "1 day" },
  { value: "604800", label: "7 days" },
];

function SignedLink({
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
        {url === null && !loaded.loading && (
          <p className="error-text" role="alert">
            {messageOf(loaded.error)}
          </p>
        )}
        <div className="form-actions">
          <Button onClick={onClose}>Done</Button>
        </div>
      </div>
    </Dialog>
  );
}

function Rename({
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
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const fault = faultOfName(name);

  async function submit(event: FormEvent): Promise<void> {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      await copyFile(project, file.bucket, file.name, name);
      await deleteFile(project, file.bucket, file.name);
      toast(`It is called ${name} now`);
      onDone();
      onClose();
      navigate(filesHash(project, file.bucket, folderOf(name), name));
    } catch (failure) {
      const isTaken = failure instanceof ApiError && failure.status === 412;
      setError(isTaken ? new Error("there is a file of this name already") : failure);
      setBusy(false);
    }
  }

  return (
    <Dialog onClose={onClose} title="Rename or move">
      <form className="stack" onSubmit={submit} noValidate>
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
        {error !== null && (
          <p className="error-text" role="alert">
            {messageOf(error)}
          </p>
        )}
        <div className="form-actions">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" loading={busy} disabled={fault !== null || name === file.name}>
            Rename
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
