/** Asks before rules come into force: what changes, why, and whether open rules are meant. */

import { unifiedMergeView } from "@codemirror/merge";
import { Button, Checkbox, TextInput } from "@mantine/core";
import { type FormEvent, type ReactNode, useMemo, useState } from "react";
import { ApiError, messageOf } from "../api/client";
import {
  changedRelease,
  type Deployment,
  decodeDiagnostics,
  getRules,
  openPathsOf,
  type Rules,
} from "../api/rules";
import { shortTime } from "../model/inputs";
import { rulesLanguage } from "../rules/language";
import { CodeEditor } from "./CodeEditor";
import { Dialog } from "./Dialog";

const MESSAGE_CHARACTERS_MAX = 1_000;

export function diffLanguage(original: string) {
  return [
    rulesLanguage,
    unifiedMergeView({
      original,
      mergeControls: false,
      gutter: true,
      collapseUnchanged: { margin: 3, minSize: 6 },
    }),
  ];
}

export function DeployDialog({
  project,
  base,
  source,
  title,
  action,
  initialMessage = "",
  deploy,
  onBase,
  onClose,
  onDeployed,
}: {
  project: string;
  /** What is in force, as it was seen: only that is replaced. */
  base: Rules;
  source: string;
  title: string;
  action: string;
  initialMessage?: string;
  deploy: (deployment: Deployment) => Promise<Rules>;
  /** Others have deployed meanwhile, and that was looked at. */
  onBase: (rules: Rules) => void;
  onClose: () => void;
  onDeployed: (rules: Rules) => void;
}): ReactNode {
  const [message, setMessage] = useState(initialMessage);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const [accepted, setAccepted] = useState(false);
  // Open rules stay named while the deployment is tried again on another base.
  const [open, setOpen] = useState<string[] | null>(null);
  const [isReplaced, setReplaced] = useState(false);
  const language = useMemo(() => diffLanguage(base.source), [base.source]);
  const isStale = changedRelease(error);

  async function submit(event: FormEvent): Promise<void> {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      const allowOpen = open !== null && accepted;
      onDeployed(await deploy({ message: message.trim(), base: base.id, allowOpen }));
    } catch (failure) {
      const paths = openPathsOf(failure);
      if (paths !== null) setOpen(paths);
      else setError(failure);
      setBusy(false);
    }
  }

  async function look(): Promise<void> {
    setBusy(true);
    try {
      onBase(await getRules(project));
      setError(null);
      setReplaced(true);
    } catch (failure) {
      setError(failure);
    }
    setBusy(false);
  }

  return (
    <Dialog onClose={onClose} title={title} size={780}>
      <form className="stack" onSubmit={submit}>
        <p className="muted">
          They apply at once, to open listeners too. Added lines are green, removed ones red.
        </p>
        {isReplaced && <Replaced base={base} />}
        {base.source === source ? (
          <p className="note boxed">The text is the same as what is in force.</p>
        ) : (
          <div className="boxed-code">
            <CodeEditor value={source} language={language} label="Changes to the rules" readOnly />
          </div>
        )}
        <TextInput
          label="Message"
          description="What changes and why; it is kept in the history."
          value={message}
          maxLength={MESSAGE_CHARACTERS_MAX}
          onChange={(event) => setMessage(event.currentTarget.value)}
          autoComplete="off"
          data-autofocus
        />
        {open !== null && <OpenPaths paths={open} accepted={accepted} onAccept={setAccepted} />}
        {isStale ? (
          <div className="stale" role="alert">
            <p className="grow">
              <strong>Somebody has deployed other rules meanwhile.</strong> Nothing was changed.
              Look at what is in force now before you replace it.
            </p>
            <Button variant="default" onClick={look} loading={busy}>
              Compare with it
            </Button>
          </div>
        ) : (
          error !== null && <Refusal error={error} />
        )}
        <div className="form-actions">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button
            type="submit"
            loading={busy}
            disabled={isStale || (open !== null && !accepted)}
            color={open === null ? "petrol" : "red.8"}
          >
            {open === null ? action : `${action} open rules`}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

function Replaced({ base }: { base: Rules }): ReactNode {
  return (
    <div className="stale" role="status">
      <p>
        This is the difference to the release of {base.author ?? "somebody"}
        {base.deployedAt !== null && `, ${shortTime(base.deployedAt)}`}
        {base.message !== "" && <>: “{base.message}”</>}. What it changed is shown as removed where
        yours lacks it.
      </p>
    </div>
  );
}

function OpenPaths({
  paths,
  accepted,
  onAccept,
}: {
  paths: readonly string[];
  accepted: boolean;
  onAccept: (accepted: boolean) => void;
}): ReactNode {
  return (
    <div className="stack" role="alert">
      <p className="error-text">
        <strong>These rules let everybody in.</strong> Without a condition, anyone on the internet
        may use:
      </p>
      <ul className="open-paths">
        {paths.map((path) => (
          <li key={path}>{path}</li>
        ))}
      </ul>
      <p className="small muted">
        Outside of development mode, the server starts again only if its setting{" "}
        <code>open_rules</code> names this project.
      </p>
      <Checkbox
        size="xs"
        label="This data is meant to be public"
        checked={accepted}
        onChange={(event) => onAccept(event.currentTarget.checked)}
      />
    </div>
  );
}

function Refusal({ error }: { error: unknown }): ReactNode {
  const rejected = error instanceof ApiError ? decodeDiagnostics(error.details?.diagnostics) : [];
  return (
    <p className="error-text" role="alert">
      {messageOf(error)}
      {rejected.length > 1 && ` (and ${rejected.length - 1} more)`}
    </p>
  );
}
