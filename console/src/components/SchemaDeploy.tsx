/** Deploys schemas: shows what changes, wants a message, and never replaces what was not seen. */

import { json } from "@codemirror/lang-json";
import { unifiedMergeView } from "@codemirror/merge";
import { Button, Checkbox, TextInput } from "@mantine/core";
import { type FormEvent, type ReactNode, useMemo, useState } from "react";
import { isReason, messageOf } from "../api/client";
import { deploySchemas, getSchemas, type SchemaRelease, violationsOf } from "../api/schemas";
import { type Json, writeJson } from "../model/json";
import { CodeEditor } from "./CodeEditor";
import { Dialog } from "./Dialog";
import { SchemaFindings } from "./SchemaFindings";

export function SchemaDeploy({
  project,
  base,
  schemas,
  onBase,
  onClose,
  onDeployed,
}: {
  project: string;
  /** What is in force, as it was seen: only that is replaced. */
  base: SchemaRelease;
  schemas: Json[];
  onBase: (release: SchemaRelease) => void;
  onClose: () => void;
  onDeployed: (release: SchemaRelease) => void;
}): ReactNode {
  const [message, setMessage] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const [found, setFound] = useState<ReturnType<typeof violationsOf>>(null);
  const [accepted, setAccepted] = useState(false);
  const isStale = isReason(error, "ReleaseChanged");
  const before = writeJson(base.schemas, 2);
  const after = writeJson(schemas, 2);
  const language = useMemo(
    () => [
      json(),
      unifiedMergeView({
        original: before,
        mergeControls: false,
        gutter: true,
        collapseUnchanged: { margin: 3, minSize: 6 },
      }),
    ],
    [before],
  );

  async function submit(event: FormEvent): Promise<void> {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      onDeployed(await deploySchemas(project, schemas, message.trim(), base.id, accepted));
    } catch (failure) {
      const violations = violationsOf(failure);
      if (violations !== null) setFound(violations);
      setError(failure);
      setBusy(false);
    }
  }

  async function look(): Promise<void> {
    setBusy(true);
    try {
      onBase(await getSchemas(project));
      setError(null);
    } catch (failure) {
      setError(failure);
    }
    setBusy(false);
  }

  return (
    <Dialog onClose={onClose} title="Deploy these schemas?" size={780}>
      <form className="stack" onSubmit={submit}>
        <p className="muted">
          They apply to the next write on, of apps and of administrators alike. Stored documents are
          checked first.
        </p>
        <div className="boxed-code">
          <CodeEditor value={after} language={language} label="Changes to the schemas" readOnly />
        </div>
        <TextInput
          label="Message"
          description="What changes and why; it is kept in the history."
          value={message}
          maxLength={1_000}
          onChange={(event) => setMessage(event.currentTarget.value)}
          autoComplete="off"
          data-autofocus
        />
        {error !== null && (
          <p className="error-text" role="alert">
            {isStale
              ? "Somebody has deployed other schemas meanwhile. Nothing was changed."
              : messageOf(error)}
          </p>
        )}
        {found !== null && found.found.length > 0 && (
          <SchemaFindings project={project} {...found} />
        )}
        {found !== null && (
          <Checkbox
            label="Deploy all the same: what is stored stays, and must fit when it is written again"
            checked={accepted}
            onChange={(event) => setAccepted(event.currentTarget.checked)}
          />
        )}
        <div className="form-actions">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          {isStale && (
            <Button variant="default" onClick={look} loading={busy}>
              Compare with what is in force
            </Button>
          )}
          <Button type="submit" loading={busy} disabled={isStale || (found !== null && !accepted)}>
            Deploy
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
