/** The rules as text, and beside it what helps: problems, the playground, tests. */

import type { EditorView } from "@codemirror/view";
import { Button, Tabs } from "@mantine/core";
import { IconCloudUp } from "@tabler/icons-react";
import { type ReactNode, useCallback, useEffect, useMemo, useRef, useState } from "react";
import { deployRules, type Rules } from "../api/rules";
import { shortTime } from "../model/inputs";
import type { TrialForm } from "../model/trials";
import { rulesLanguage } from "../rules/language";
import { type Span, spanOf } from "../rules/positions";
import { CodeEditor } from "./CodeEditor";
import { DeployDialog } from "./DeployDialog";
import { toast } from "./feedback";
import { PlaygroundPane } from "./PlaygroundPane";
import { marksOf, ProblemsPane, useCheck } from "./ProblemsPane";
import { NOTHING_PAINTED, type Painted } from "./painting";
import { TestsPane, useTestsText } from "./TestsPane";

/** `code` is a pane of its own on narrow screens only. */
type Pane = "code" | "problems" | "playground" | "tests";

/** What is painted holds for one text: another one shows nothing of it. */
export interface PaintedSource {
  source: string;
  painted: Painted;
}

const NARROW = "(max-width: 980px)";

export function RulesEditor({
  project,
  isActive,
  deployed,
  source,
  onSource,
  onDeployed,
  trial,
  onTrial,
  asked,
  shown: wanted,
  onShown,
}: {
  project: string;
  /** Whether it is shown: else its keys do nothing. */
  isActive: boolean;
  deployed: Rules;
  source: string;
  onSource: (source: string) => void;
  onDeployed: (rules: Rules) => void;
  trial: TrialForm;
  onTrial: (trial: TrialForm) => void;
  /** Counts the trials that came from elsewhere. */
  asked: number;
  /** A place that is to be shown, once. */
  shown: Span | null;
  onShown: () => void;
}): ReactNode {
  const [isDeploying, setDeploying] = useState(false);
  const [pane, setPane] = useState<Pane>(() =>
    window.matchMedia(NARROW).matches ? "code" : "problems",
  );
  useEffect(() => {
    if (asked > 0) setPane("playground");
  }, [asked]);
  const [shown, setShown] = useState<PaintedSource | null>(null);
  const [tests, setTests] = useTestsText(project);
  const view = useRef<EditorView | null>(null);
  const check = useCheck(project, source);
  const dirty = source !== deployed.source;
  const errors = check.diagnostics.filter((item) => item.severity === "error").length;
  const canDeploy = dirty && errors === 0;
  useDeployKey(isActive && canDeploy, () => setDeploying(true));
  const marks = useMemo(() => marksOf(check), [check]);
  const painted = shown !== null && shown.source === source ? shown.painted : NOTHING_PAINTED;
  const onClose = useCallback(() => setDeploying(false), []);

  function jump({ from, to }: Span, select: boolean): void {
    if (window.matchMedia(NARROW).matches) setPane("code");
    // After the pane is shown: what is hidden cannot take the focus.
    requestAnimationFrame(() => {
      const editor = view.current;
      if (editor === null) return;
      const most = editor.state.doc.length;
      const anchor = Math.min(from, most);
      const head = select ? Math.min(to, most) : anchor;
      editor.dispatch({ selection: { anchor, head }, scrollIntoView: true });
      editor.focus();
    });
  }

  useEffect(() => {
    if (wanted === null) return;
    jump(wanted, true);
    onShown();
    // oxlint-disable-next-line react/exhaustive-deps -- a place is shown once, when it comes.
  }, [wanted]);

  const bench = {
    project,
    source,
    deployed: deployed.source,
    canUseDraft: errors === 0,
    onPainted: setShown,
    onJump: (span: Span) => jump(span, true),
  };
  return (
    <>
      <EditorBar
        deployed={deployed}
        dirty={dirty}
        canDeploy={canDeploy}
        onDiscard={() => onSource(deployed.source)}
        onDeploy={() => setDeploying(true)}
      />
      <div className="rules" data-pane={pane}>
        <div className="editor">
          <CodeEditor
            label="Security rules"
            value={source}
            onChange={onSource}
            language={rulesLanguage}
            marks={marks}
            painted={painted}
            viewRef={view}
          />
        </div>
        <aside aria-label="Rules tools">
          <Tabs value={pane === "code" ? null : pane} onChange={(next) => setPane(next as Pane)}>
            <PaneTabs pane={pane} count={check.diagnostics.length} errors={errors} />
            <Tabs.Panel value="problems" aria-label="Problems">
              <ProblemsPane
                check={check}
                onJump={(item) =>
                  jump(spanOf(source, item.line, item.column, item.endColumn), false)
                }
              />
            </Tabs.Panel>
            <Tabs.Panel value="playground" aria-label="Playground">
              <PlaygroundPane
                {...bench}
                form={trial}
                onForm={onTrial}
                tests={tests}
                onTests={(text) => {
                  setTests(text);
                  setPane("tests");
                }}
                isActive={isActive && pane === "playground"}
              />
            </Tabs.Panel>
            <Tabs.Panel value="tests" aria-label="Tests">
              <TestsPane
                {...bench}
                tests={tests}
                onTests={setTests}
                isActive={isActive && pane === "tests"}
              />
            </Tabs.Panel>
          </Tabs>
        </aside>
        <nav className="pane-switch" aria-label="Show">
          {(["code", "problems", "playground", "tests"] as const).map((one) => (
            <button
              key={one}
              type="button"
              className="bare"
              aria-pressed={one === pane}
              onClick={() => setPane(one)}
            >
              {one}
            </button>
          ))}
        </nav>
      </div>
      {isDeploying && (
        <DeployDialog
          project={project}
          base={deployed}
          source={source}
          title="Deploy these rules?"
          action="Deploy"
          deploy={(deployment) => deployRules(project, source, deployment)}
          onBase={onDeployed}
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

function EditorBar({
  deployed,
  dirty,
  canDeploy,
  onDiscard,
  onDeploy,
}: {
  deployed: Rules;
  dirty: boolean;
  canDeploy: boolean;
  onDiscard: () => void;
  onDeploy: () => void;
}): ReactNode {
  return (
    <div className="bar sub-bar">
      <span className="muted small truncate grow" title={deployed.message}>
        {deployed.deployedAt === null
          ? "Never deployed: everything is denied"
          : `In force since ${shortTime(deployed.deployedAt)}, by ${deployed.author ?? "somebody"}`}
        {deployed.message !== "" && <> · {deployed.message}</>}
      </span>
      {dirty && (
        <span className="badge" data-tone="warn">
          not deployed
        </span>
      )}
      {dirty && (
        <Button variant="subtle" color="gray" onClick={onDiscard}>
          Discard
        </Button>
      )}
      <Button leftSection={<IconCloudUp size={16} />} disabled={!canDeploy} onClick={onDeploy}>
        Deploy…
      </Button>
    </div>
  );
}

function PaneTabs({
  pane,
  count,
  errors,
}: {
  pane: Pane;
  count: number;
  errors: number;
}): ReactNode {
  return (
    <Tabs.List aria-label="Rules tools" data-pane={pane}>
      <Tabs.Tab
        value="problems"
        rightSection={
          count > 0 && (
            <span className="badge" data-tone={errors > 0 ? "danger" : "warn"}>
              {count}
            </span>
          )
        }
      >
        Problems
      </Tabs.Tab>
      <Tabs.Tab value="playground">Playground</Tabs.Tab>
      <Tabs.Tab value="tests">Tests</Tabs.Tab>
    </Tabs.List>
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
