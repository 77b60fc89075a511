/** What is being uploaded, in a corner of every page until it is closed. */

import { Button, Progress } from "@mantine/core";
import { IconAlertTriangle, IconCheck, IconX } from "@tabler/icons-react";
import type { ReactNode } from "react";
import {
  cancelUpload,
  clearUploads,
  isOver,
  retryUpload,
  titleOf,
  type Upload,
  useUploads,
} from "../api/uploads";
import { formatSize } from "../model/files";
import { IconAction } from "./controls";

export function UploadTray(): ReactNode {
  const uploads = useUploads();
  if (uploads.length === 0) return null;
  const busy = uploads.filter((item) => !isOver(item));
  const done = uploads.filter((item) => item.state === "done").length;
  const asked = uploads.filter((item) => item.state === "exists");
  return (
    <section className="uploads" aria-label="Uploads">
      <header>
        <h2 className="grow" role="status">
          {busy.length > 0
            ? `Uploading ${busy.length} of ${uploads.length}`
            : `${done} of ${uploads.length} uploaded`}
        </h2>
        {asked.length > 1 && (
          <Button
            variant="subtle"
            size="compact-xs"
            onClick={() => {
              for (const item of asked) retryUpload(item.id, true);
            }}
          >
            Replace all
          </Button>
        )}
        {busy.length > 0 ? (
          <Button
            variant="subtle"
            color="gray"
            size="compact-xs"
            onClick={() => {
              for (const item of busy) cancelUpload(item.id);
            }}
          >
            Cancel all
          </Button>
        ) : (
          <IconAction label="Close the list of uploads" onClick={clearUploads}>
            <IconX size={16} />
          </IconAction>
        )}
      </header>
      <ul>
        {uploads.map((item) => (
          <UploadRow key={item.id} upload={item} />
        ))}
      </ul>
    </section>
  );
}

function UploadRow({ upload }: { upload: Upload }): ReactNode {
  const { id, name, state, sent, size, error } = upload;
  const isRunning = state === "running";
  return (
    <li data-state={state}>
      <div className="row">
        <span className="truncate grow" title={name}>
          {titleOf(upload)}
        </span>
        <span className="muted small" style={{ whiteSpace: "nowrap" }}>
          {isRunning ? `${formatSize(sent)} of ${formatSize(size)}` : formatSize(size)}
        </span>
        {state === "done" && (
          <IconCheck size={16} color="var(--good)" role="img" aria-label="Uploaded" />
        )}
        {state === "failed" && <IconAlertTriangle size={16} color="var(--danger)" aria-hidden />}
        {!isOver(upload) && (
          <IconAction size={22} label={`Cancel ${name}`} onClick={() => cancelUpload(id)}>
            <IconX size={14} />
          </IconAction>
        )}
      </div>
      {!isOver(upload) && (
        <Progress
          value={size === 0 ? 100 : (sent / size) * 100}
          size={4}
          aria-label={`Progress of ${name}`}
          transitionDuration={120}
        />
      )}
      {state === "exists" && (
        <div className="row small">
          <span className="grow muted">There is a file of this name.</span>
          <Button variant="default" size="compact-xs" onClick={() => retryUpload(id, true)}>
            Replace it
          </Button>
        </div>
      )}
      {state === "cancelled" && <div className="small muted">Cancelled</div>}
      {state === "failed" && (
        <div className="row small">
          <span className="grow error-text" role="alert">
            {error}
          </span>
          <Button variant="default" size="compact-xs" onClick={() => retryUpload(id, false)}>
            Try again
          </Button>
        </div>
      )}
    </li>
  );
}
