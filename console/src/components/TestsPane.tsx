/** Tests of the rules: the YAML, a run, what failed, and what no test has reached. */

import { Button, Checkbox, FileButton, Menu } from "@mantine/core";
import {
  IconAlertTriangle,
  IconCircleCheck,
  IconCircleX,
  IconDotsVertical,
  IconDownload,
  IconPlayerPlay,
  IconUpload,
} from "@tabler/icons-react";
import { type ReactNode, useEffect, useMemo, useRef, useState } from "react";
import { ApiError, messageOf } from "../api/client";
import { type Reached, type TestResult, type TestRun, testRules } from "../api/trials";
import { coverageLines, paintCoverage, spanOfLine, spanOfText } from "../rules/paint";
import { yamlLanguage } from "../rules/yaml";
import { CodeEditor, type Mark } from "./CodeEditor";
import { IconAction } from "./controls";
import { toastError } from "./feedback";
import { type Against, AgainstSwitch, type BenchProps } from "./PlaygroundPane";
import { useRunKey } from "./runKey";

const EXAMPLE = `documents:
  notes/n1: {owner: ada, text: hello}
callers:
  ada: {uid: ada}
tests:
  - name: an owner reads her note
    as: ada
    get: notes/n1
    expect: allow

  - name: nobody else does
    get: notes/n1
    expect: deny
`;
const FILE = "rules.test.yaml";
const RESULTS_SHOWN = 500;
const UPLOAD_BYTES_MAX = 1024 * 1024;

/** The tests of a project, kept as long as the tab is: they may quote documents. */
export function useTestsText(project: string): [string, (text: string) => void] {
  const key = `baas-rules-tests ${project}`;
  const [text, setText] = useState(() => {
    try {
      return sessionStorage.getItem(key) ?? "";
    } catch {
      return "";
    }
  });
  return [
    text,
    (next) => {
      setText(next);
      try {
        sessionStorage.setItem(key, next);
      } catch {
        // Without storage they last until the page is left.
      }
    },
  ];
}

interface Ran {
  run: TestRun;
  /** The rules that were asked. */
  source: string;
  tests: string;
}

export function TestsPane({
  tests,
  onTests,
  project,
  source,
  deployed,
  canUseDraft,
  onPainted,
  onJump,
  isActive,
}: BenchProps & { tests: string; onTests: (tests: string) => void }): ReactNode {
  const [against, setAgainst] = useState<Against>("draft");
  const [ran, setRan] = useState<Ran | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const [isPainting, setPainting] = useState(true);
  const running = useRef<AbortController | null>(null);
  useEffect(() => () => running.current?.abort(), []);
  const marks = useMemo(() => marksOf(tests, ran, error), [tests, ran, error]);
  const asked = against === "draft" ? source : deployed;

  async function run(): Promise<void> {
    running.current?.abort();
    const control = new AbortController();
    running.current = control;
    setBusy(true);
    setError(null);
    try {
      const draft = against === "draft" ? source : null;
      const made = await testRules(project, tests, draft, control.signal);
      setRan({ run: made, source: asked, tests });
      paint({ run: made, source: asked, tests }, isPainting);
    } catch (failure) {
      if (control.signal.aborted) return;
      setRan(null);
      setError(failure);
      onPainted(null);
    }
    setBusy(false);
  }

  function paint(shown: Ran, wanted: boolean): void {
    const { statements, expressions } = shown.run.coverage;
    onPainted(
      wanted
        ? {
            source: shown.source,
            painted: {
              paints: paintCoverage(shown.source, expressions),
              lines: coverageLines(statements),
            },
          }
        : null,
    );
  }

  useRunKey(isActive && tests.trim() !== "", run);
  return (
    <div className="pane-body tests">
      <div className="bench">
        <div className="row">
          <AgainstSwitch against={against} onChange={setAgainst} />
          <span className="grow" />
          <FileMenu tests={tests} onTests={onTests} />
        </div>
        <div className="boxed-code">
          <CodeEditor
            label="Tests as YAML"
            value={tests}
            onChange={onTests}
            language={yamlLanguage}
            marks={marks}
          />
        </div>
        {tests.trim() === "" && (
          <p className="small muted">
            Tests are written in YAML, as for <code>baas rules test</code>: paste or upload a file,
            save a request of the playground,{" "}
            <button type="button" className="bare link" onClick={() => onTests(EXAMPLE)}>
              or start with an example
            </button>
            . They stay in this tab until it is closed.
          </p>
        )}
        <div className="row">
          <Button
            leftSection={<IconPlayerPlay size={15} />}
            loading={busy}
            disabled={tests.trim() === "" || (against === "draft" && !canUseDraft)}
            onClick={run}
          >
            Run tests
          </Button>
          {against === "draft" && !canUseDraft && (
            <span className="small muted">The draft has errors.</span>
          )}
        </div>
        {error !== null && (
          <p className="error-text breaks" role="alert">
            {messageOf(error)}
          </p>
        )}
      </div>
      {ran !== null && (
        <>
          <Results run={ran.run} isOld={ran.tests !== tests || ran.source !== asked} />
          <CoverageReport
            run={ran.run}
            isPainting={isPainting}
            onPainting={(wanted) => {
              setPainting(wanted);
              paint(ran, wanted);
            }}
            onJump={(one) => onJump(spanOfText(ran.source, one.line, one.column, one.text))}
          />
        </>
      )}
    </div>
  );
}

function marksOf(tests: string, ran: Ran | null, error: unknown): Mark[] {
  const line = error instanceof ApiError ? Number(error.details?.line) : Number.NaN;
  if (Number.isInteger(line) && line > 0)
    return [{ ...spanOfLine(tests, line), severity: "error", message: messageOf(error) }];
  if (ran === null || ran.tests !== tests) return [];
  return ran.run.results
    .filter((result) => !result.passed)
    .map((result) => ({
      ...spanOfLine(tests, result.line),
      severity: "error",
      message: result.failure ?? "failed",
    }));
}

function FileMenu({
  tests,
  onTests,
}: {
  tests: string;
  onTests: (tests: string) => void;
}): ReactNode {
  async function upload(file: File | null): Promise<void> {
    if (file === null) return;
    try {
      if (file.size > UPLOAD_BYTES_MAX) throw new Error("the file is larger than 1 MB");
      onTests(await file.text());
    } catch (failure) {
      toastError("The file was not read", failure);
    }
  }

  function download(): void {
    const address = URL.createObjectURL(new Blob([tests], { type: "application/yaml" }));
    const link = document.createElement("a");
    link.href = address;
    link.download = FILE;
    link.click();
    URL.revokeObjectURL(address);
  }

  return (
    <FileButton onChange={upload} accept=".yaml,.yml,text/yaml,application/yaml">
      {({ onClick }) => (
        <Menu position="bottom-end">
          <Menu.Target>
            <IconAction label="File of tests">
              <IconDotsVertical size={16} />
            </IconAction>
          </Menu.Target>
          <Menu.Dropdown>
            <Menu.Item leftSection={<IconUpload size={15} />} onClick={onClick}>
              Upload a file…
            </Menu.Item>
            <Menu.Item
              leftSection={<IconDownload size={15} />}
              disabled={tests === ""}
              onClick={download}
            >
              Download {FILE}
            </Menu.Item>
          </Menu.Dropdown>
        </Menu>
      )}
    </FileButton>
  );
}

function Results({ run, isOld }: { run: TestRun; isOld: boolean }): ReactNode {
  const shown = useMemo(() => shownOf(run.results), [run]);
  return (
    <section className="results" aria-label="Results" data-stale={isOld || undefined}>
      <p className="verdict" data-allowed={run.failed === 0 && run.notRun === 0} role="status">
        {run.failed === 0 ? <IconCircleCheck aria-hidden /> : <IconCircleX aria-hidden />}
        <span>
          <strong>{run.passed} passed</strong>, {run.failed} failed
          {run.notRun > 0 && `, ${run.notRun} not run: the time was over`}
          {isOld && <span className="muted"> · before the last change</span>}
        </span>
      </p>
      <ul>
        {shown.map((result, index) => (
          <ResultView key={`${index} ${result.line}`} result={result} />
        ))}
      </ul>
      {shown.length < run.results.length && (
        <p className="note small muted">
          The first {shown.length} of {run.results.length} are shown, failed ones before others.
        </p>
      )}
    </section>
  );
}

/** All, in their order; of very many those that failed first. */
function shownOf(results: readonly TestResult[]): readonly TestResult[] {
  if (results.length <= RESULTS_SHOWN) return results;
  const byOutcome = [...results].sort((a, b) => Number(a.passed) - Number(b.passed));
  return byOutcome.slice(0, RESULTS_SHOWN);
}

function ResultView({ result }: { result: TestResult }): ReactNode {
  return (
    <li data-passed={result.passed}>
      <span className="row">
        {result.passed ? (
          <IconCircleCheck size={15} aria-label="passed" />
        ) : (
          <IconCircleX size={15} aria-label="failed" />
        )}
        <span className="grow breaks">{result.name}</span>
        <span className="muted small mono">line {result.line}</span>
      </span>
      {result.failure !== null && <pre>{result.failure}</pre>}
    </li>
  );
}

function CoverageReport({
  run,
  isPainting,
  onPainting,
  onJump,
}: {
  run: TestRun;
  isPainting: boolean;
  onPainting: (wanted: boolean) => void;
  onJump: (one: Reached) => void;
}): ReactNode {
  const { percent, statements, expressions } = run.coverage;
  const granted = statements.filter((one) => one.true > 0).length;
  const gaps = outermostGaps(expressions);
  return (
    <section className="coverage" aria-label="Coverage">
      <div className="row">
        <h3 className="grow">Coverage {percent} %</h3>
        <Checkbox
          size="xs"
          label="Show in the editor"
          checked={isPainting}
          onChange={(event) => onPainting(event.currentTarget.checked)}
        />
      </div>
      <p className="muted small">
        {granted} of {statements.length} allow statements granted something.
        <span className="legend">
          <span data-tone="good">covered</span>
          <span data-tone="part">partly</span>
          <span data-tone="bad">not</span>
        </span>
      </p>
      {gaps.length > 0 && (
        <ul className="problems">
          {gaps.map((one, index) => (
            <li key={`${index} ${one.line}:${one.column}`}>
              <button
                type="button"
                className="bare"
                data-severity={one.gap === "never evaluated" ? "error" : "warning"}
                onClick={() => onJump(one)}
              >
                <IconAlertTriangle aria-hidden />
                <span>
                  <code className="breaks">{one.text}</code>
                  <span className="muted small where">
                    line {one.line} · {one.gap}
                  </span>
                </span>
              </button>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

/** Of what was never evaluated, what is inside of it is no news. */
function outermostGaps(expressions: readonly Reached[]): Reached[] {
  const found: Reached[] = [];
  for (const one of expressions) {
    if (one.gap === null) continue;
    const last = found.at(-1);
    const isInside =
      last?.gap === "never evaluated" &&
      last.line === one.line &&
      one.column < last.column + last.text.length &&
      last.text.includes(one.text);
    if (!isInside) found.push(one);
  }
  return found;
}
