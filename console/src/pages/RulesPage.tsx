import { unifiedMergeView } from "@codemirror/merge";
import type { EditorView } from "@codemirror/view";
import { Button, Checkbox } from "@mantine/core";
import { IconAlertTriangle, IconCircleCheck, IconCircleX, IconCloudUp } from "@tabler/icons-react";
import { type ReactNode, useCallback, useEffect, useMemo, useRef, useState } from "react";
import {
  checkRules,
  type Diagnostic,
  decodeDiagnostics,
  deployRules,
  getRules,
  type Rules,
} from "../api/admin";
import { ApiError, messageOf } from "../api/client";
import { useLoaded } from "../api/hooks";
import { CodeEditor } from "../components/CodeEditor";
import { Dialog } from "../components/Dialog";
import { Failed, Loading, toast } from "../components/feedback";
import { shortTime } from "../model/inputs";
import type { JsonObject } from "../model/json";
import { useGuard } from "../navigation";
import { rulesLanguage } from "../rules/language";
import { spanOf } from "../rules/positions";

const CHECK_DELAY_MS = 350;

export function RulesPage({ project }: { project: string }): ReactNode {
  const loaded = useLoaded(`rules ${project}`, () => getRules(project));
  if (loaded.data === undefined && loaded.loading) return <Loading label="Loading the rules" />;
  if (loaded.data === undefined)
    return (
      <Failed title="The rules could not be loaded" error={loaded.error} onRetry={loaded.reload} />
    );
  return <RulesEditor project={project} deployed={loaded.data} onDeployed={loaded.setData} />;
}

function RulesEditor({
  project,
  deployed,
  onDeployed,
}: {
  project: string;
  deployed: Rules;
  onDeployed: (rules: Rules) => void;
}): ReactNode {
  const [source, setSource] = useState(deployed.source);
  const [isDeploying, setDeploying] = useState(false);
  const view = useRef<EditorView | null>(null);
  const check = useCheck(project, source);
  const dirty = source !== deployed.source;
  const errors = check.diagnostics.filter((item) => item.severity === "error").length;
  useGuard(dirty, "The changed rules", () => true);
  useDeployKey(dirty && errors === 0, () => setDeploying(true));
  const marks = useMemo(
    () =>
      check.diagnostics.map((item) => ({
        ...spanOf(check.source, item.line, item.column, item.endColumn),
        severity: item.severity,
        message: item.hint === null ? item.message : `${item.message} (${item.hint})`,
      })),
    [check],
  );
  const onClose = useCallback(() => setDeploying(false), []);

  function jump(item: Diagnostic): void {
    const editor = view.current;
    if (editor === null) return;
    const { from } = spanOf(editor.state.doc.toString(), item.line, item.column, item.endColumn);
    editor.dispatch({ selection: { anchor: from }, scrollIntoView: true });
    editor.focus();
  }

  return (
    <>
      <header className="bar">
        <h1>Rules</h1>
        <span className="muted small truncate grow">
          {deployed.deployedAt === null
            ? "Never deployed: everything is denied"
            : `Deployed ${shortTime(deployed.deployedAt)}`}
        </span>
        {dirty && (
          <span className="badge" data-tone="warn">
            not deployed
          </span>
        )}
        {dirty && (
          <Button variant="subtle" color="gray" onClick={() => setSource(deployed.source)}>
            Discard
          </Button>
        )}
        <Button
          leftSection={<IconCloudUp size={16} />}
          disabled={!dirty || errors > 0}
          onClick={() => setDeploying(true)}
        >
          Deploy…
        </Button>
      </header>
      <div className="rules">
        <div className="editor">
          <CodeEditor
            label="Security rules"
            value={source}
            onChange={setSource}
            language={rulesLanguage}
            marks={marks}
            viewRef={view}
          />
        </div>
        <aside aria-label="Problems">
          <div className="pane-head" role="status">
            <h2 className="grow">Problems</h2>
            <span className="muted small">{check.pending ? "checking" : ""}</span>
          </div>
          {check.error !== null && <p className="card-row error-text">{messageOf(check.error)}</p>}
          {check.error === null && check.diagnostics.length === 0 && !check.pending && (
            <p className="card-row muted" style={{ borderTop: 0 }}>
              <IconCircleCheck size={16} color="var(--good)" aria-hidden /> No problems found.
            </p>
          )}
          <ul className="problems">
            {check.diagnostics.map((item) => (
              <li key={`${item.line}:${item.column}:${item.message}`}>
                <button
                  type="button"
                  className="bare"
                  data-severity={item.severity}
                  onClick={() => jump(item)}
                >
                  {item.severity === "error" ? (
                    <IconCircleX aria-label="Error" />
                  ) : (
                    <IconAlertTriangle aria-label="Warning" />
                  )}
                  <span>
                    {item.message}
                    {item.hint !== null && <span className="muted"> {item.hint}</span>}
                    <span className="muted small mono" style={{ display: "block" }}>
                      line {item.line}, column {item.column}
                    </span>
                  </span>
                </button>
              </li>
            ))}
          </ul>
        </aside>
      </div>
      {isDeploying && (
        <DeployDialog
          project={project}
          before={deployed.source}
          after={source}
          onClose={onClose}
          onDeployed={(rules) => {
            setDeploying(false);
            onDeployed(rules);
            toast("The rules are in force");
          }}
        />
      )}
    </>
  );
}

interface Check {
  /** What was checked; places are of this text. */
  source: string;
  diagnostics: readonly Diagnostic[];
  error: unknown;
  pending: boolean;
}

/** Checks the source a moment after typing stops; an answer to an older text is dropped. */
function useCheck(project: string, source: string): Check {
  const [check, setCheck] = useState<Check>({
    source: "",
    diagnostics: [],
    error: null,
    pending: true,
  });
  useEffect(() => {
    const control = new AbortController();
    setCheck((old) => ({ ...old, pending: true }));
    const timer = setTimeout(() => {
      checkRules(project, source, control.signal).then(
        (diagnostics) => setCheck({ source, diagnostics, error: null, pending: false }),
        (error: unknown) => {
          if (!control.signal.aborted) setCheck({ source, diagnostics: [], error, pending: false });
        },
      );
    }, CHECK_DELAY_MS);
    return () => {
      clearTimeout(timer);
      control.abort();
    };
  }, [project, source]);
  return check;
}

function openPathsOf(error: unknown): string[] | null {
  if (!(error instanceof ApiError) || error.reason !== "OpenRules") return null;
  const open = error.details?.open;
  return (Array.isArray(open) ? open : []).map((item) => {
    if (typeof item === "string") return item;
    const { path, methods } = item as JsonObject;
    const which = Array.isArray(methods) ? ` (${methods.join(", ")})` : "";
    return `${typeof path === "string" ? path : JSON.stringify(item)}${which}`;
  });
}

function DeployDialog({
  project,
  before,
  after,
  onClose,
  onDeployed,
}: {
  project: string;
  before: string;
  after: string;
  onClose: () => void;
  onDeployed: (rules: Rules) => void;
}): ReactNode {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const [accepted, setAccepted] = useState(false);
  const open = openPathsOf(error);
  const diff = useMemo(
    () => [
      rulesLanguage,
      unifiedMergeView({
        original: before,
        mergeControls: false,
        gutter: true,
        collapseUnchanged: { margin: 3, minSize: 6 },
      }),
    ],
    [before],
  );
  const rejected = error instanceof ApiError ? decodeDiagnostics(error.details?.diagnostics) : [];

  async function deploy(): Promise<void> {
    setBusy(true);
    try {
      onDeployed(await deployRules(project, after, open !== null && accepted));
    } catch (failure) {
      setError(failure);
      setBusy(false);
    }
  }

  return (
    <Dialog onClose={onClose} title="Deploy these rules?" size={760}>
      <div className="stack">
        <p className="muted">
          They apply at once, to open listeners too. Added lines are green, removed ones red.
        </p>
        <div className="boxed-code">
          <CodeEditor value={after} language={diff} label="Changes to the rules" readOnly />
        </div>
        {open !== null && (
          <div className="stack" role="alert">
            <p className="error-text">
              <strong>These rules let everybody in.</strong> Without a condition, anyone on the
              internet may use:
            </p>
            <ul className="open-paths">
              {open.map((path) => (
                <li key={path}>{path}</li>
              ))}
            </ul>
            <Checkbox
              size="xs"
              label="This data is meant to be public"
              checked={accepted}
              onChange={(event) => setAccepted(event.currentTarget.checked)}
            />
          </div>
        )}
        {open === null && error !== null && (
          <p className="error-text" role="alert">
            {messageOf(error)}
            {rejected.length > 1 && ` (and ${rejected.length - 1} more)`}
          </p>
        )}
        <div className="form-actions">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button
            onClick={deploy}
            loading={busy}
            disabled={open !== null && !accepted}
            color={open === null ? "petrol" : "red.8"}
            data-autofocus
          >
            {open === null ? "Deploy" : "Deploy open rules"}
          </Button>
        </div>
      </div>
    </Dialog>
  );
}

function useDeployKey(active: boolean, open: () => void): void {
  const latest = useRef(open);
  latest.current = open;
  useEffect(() => {
    function press(event: KeyboardEvent): void {
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "s") {
        event.preventDefault();
        if (active) latest.current();
      }
    }
    window.addEventListener("keydown", press);
    return () => window.removeEventListener("keydown", press);
  }, [active]);
}
