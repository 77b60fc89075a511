/** One file: what it looks like, what is said of it, and what can be done with it. */

import { CopyButton, Menu } from "@mantine/core";
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
import { type ReactNode, useState } from "react";
import { ApiError } from "../api/client";
import { deleteFile, getFile, type StoredFile, signFile } from "../api/files";
import { useLoaded } from "../api/hooks";
import { baseName, formatSize } from "../model/files";
import { shortTime } from "../model/inputs";
import { filesHash } from "../model/routes";
import { navigate } from "../navigation";
import type { FilesRoute } from "../pages/FilesPage";
import { Confirm } from "./Confirm";
import { Copy, IconAction } from "./controls";
import { Rename, SignedLink } from "./FileDialogs";
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
