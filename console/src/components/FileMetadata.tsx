import { Button, TextInput } from "@mantine/core";
import { IconPlus, IconX } from "@tabler/icons-react";
import { type FormEvent, type ReactNode, useState } from "react";
import { ApiError, messageOf } from "../api/client";
import { patchFile, type StoredFile } from "../api/files";
import { type MetadataRow, metadataOf } from "../model/files";
import { useGuard } from "../navigation";
import { IconAction } from "./controls";
import { toast } from "./feedback";

/** The declared type and the app's own metadata. Its key is the etag: it starts anew from what is
 *  stored. A save that somebody else was faster than changes nothing, and says so. */
export function FileMetadata({
  project,
  file,
  onSaved,
  onReload,
}: {
  project: string;
  file: StoredFile;
  onSaved: (saved: StoredFile) => void;
  onReload: () => void;
}): ReactNode {
  const stored = Object.entries(file.metadata).map(([key, value]) => ({ key, value }));
  const [type, setType] = useState(file.contentType ?? "");
  const [rows, setRows] = useState<readonly MetadataRow[]>(stored);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const isDirty =
    type !== (file.contentType ?? "") || JSON.stringify(rows) !== JSON.stringify(stored);
  const metadata = metadataOf(rows);
  const fault = typeof metadata === "string" ? metadata : null;
  const isStale = error instanceof ApiError && error.status === 412;
  useGuard(
    isDirty,
    "The metadata that you typed",
    (next) => next.page !== "files" || next.object !== file.name,
  );

  function set(index: number, part: Partial<MetadataRow>): void {
    setRows(rows.map((row, at) => (at === index ? { ...row, ...part } : row)));
  }

  async function submit(event: FormEvent): Promise<void> {
    event.preventDefault();
    if (typeof metadata === "string") return;
    setBusy(true);
    setError(null);
    try {
      const saved = await patchFile(project, file, {
        ...(type !== (file.contentType ?? "") ? { content_type: type } : {}),
        metadata,
      });
      toast("The metadata is saved");
      onSaved(saved);
    } catch (failure) {
      setError(failure);
    }
    setBusy(false);
  }

  return (
    <form className="file-metadata" aria-label="Metadata" onSubmit={submit} noValidate>
      <TextInput
        label="Type"
        value={type}
        onChange={(event) => setType(event.currentTarget.value)}
        placeholder="application/octet-stream"
        autoComplete="off"
        spellCheck={false}
      />
      <fieldset>
        <legend>Custom metadata</legend>
        {rows.map((row, index) => (
          <div className="row" key={index}>
            <TextInput
              aria-label={`Key ${index + 1}`}
              placeholder="key"
              value={row.key}
              onChange={(event) => set(index, { key: event.currentTarget.value })}
              autoComplete="off"
              spellCheck={false}
              style={{ flex: 2 }}
            />
            <TextInput
              aria-label={`Value ${index + 1}`}
              placeholder="value"
              value={row.value}
              onChange={(event) => set(index, { value: event.currentTarget.value })}
              autoComplete="off"
              style={{ flex: 3 }}
            />
            <IconAction
              label={`Remove ${row.key === "" ? `row ${index + 1}` : row.key}`}
              onClick={() => setRows(rows.filter((_, at) => at !== index))}
            >
              <IconX size={15} />
            </IconAction>
          </div>
        ))}
        <Button
          variant="subtle"
          color="gray"
          leftSection={<IconPlus size={14} />}
          onClick={() => setRows([...rows, { key: "", value: "" }])}
        >
          Add a key
        </Button>
      </fieldset>
      {fault !== null && (
        <p className="error-text" role="alert">
          {fault.charAt(0).toUpperCase() + fault.slice(1)}
        </p>
      )}
      {error !== null && (
        <p className="error-text" role="alert">
          {isStale ? "Not saved: somebody else changed this file" : messageOf(error)}
          {isStale && (
            <Button variant="subtle" size="compact-xs" onClick={onReload}>
              Show theirs, discard mine
            </Button>
          )}
        </p>
      )}
      {isDirty && (
        <div className="form-actions">
          <Button
            variant="default"
            onClick={() => {
              setType(file.contentType ?? "");
              setRows(stored);
              setError(null);
            }}
          >
            Discard
          </Button>
          <Button type="submit" loading={busy} disabled={fault !== null}>
            Save metadata
          </Button>
        </div>
      )}
    </form>
  );
}
