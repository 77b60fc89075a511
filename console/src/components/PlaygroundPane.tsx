/** A request that nobody made, put to the draft or to the rules in force, and why it came out so. */

import { Button, SegmentedControl } from "@mantine/core";
import { IconPlayerPlay, IconTestPipe } from "@tabler/icons-react";
import { type ReactNode, useEffect, useRef, useState } from "react";
import { messageOf } from "../api/client";
import { explainBatch, explainRules, type TrialAnswer } from "../api/trials";
import { withTestCase } from "../model/testcases";
import { encodeBatch, encodeTrial, FormFault, isBatch, type TrialForm } from "../model/trials";
import { paintAttempts } from "../rules/paint";
import type { Span } from "../rules/positions";
import { Explanation } from "./Explanation";
import { toast } from "./feedback";
import { PlaygroundForm } from "./PlaygroundForm";
import type { PaintedSource } from "./RulesEditor";
import { useRunKey } from "./runKey";
import { hasTest, SaveTest } from "./SaveTest";

export type Against = "draft" | "force";

export interface BenchProps {
  project: string;
  /** The draft. */
  source: string;
  /** What is in force. */
  deployed: string;
  /** Whether the draft compiles. */
  canUseDraft: boolean;
  isActive: boolean;
  onPainted: (painted: PaintedSource | null) => void;
  onJump: (span: Span) => void;
}

export interface Outcome {
  form: TrialForm;
  against: Against;
  source: string;
  answer: TrialAnswer;
}

export function PlaygroundPane({
  form,
  onForm,
  tests,
  onTests,
  ...bench
}: BenchProps & {
  form: TrialForm;
  onForm: (form: TrialForm) => void;
  tests: string;
  onTests: (tests: string) => void;
}): ReactNode {
  const { project, source, deployed, canUseDraft, onPainted } = bench;
  const [against, setAgainst] = useState<Against>("draft");
  const [outcome, setOutcome] = useState<Outcome | null>(null);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const [isSaving, setSaving] = useState(false);
  const running = useRef<AbortController | null>(null);
  useEffect(() => () => running.current?.abort(), []);
  useRunKey(bench.isActive && !isSaving, run);

  async function run(): Promise<void> {
    running.current?.abort();
    const control = new AbortController();
    running.current = control;
    setError(null);
    setOutcome(null);
    const asked = against === "draft" ? source : deployed;
    try {
      const draft = against === "draft" ? source : null;
      const ask = isBatch(form) ? askBatch : askOne;
      const answering = ask(project, form, draft, control.signal);
      setBusy(true);
      const answer = await answering;
      setOutcome({ form, against, source: asked, answer });
      const paints = paintAttempts(
        asked,
        answer.results.flatMap((result) => result.attempts),
      );
      onPainted({ source: asked, painted: { paints, lines: new Map() } });
    } catch (failure) {
      if (control.signal.aborted) return;
      setError(failure);
      onPainted(null);
    }
    setBusy(false);
  }

  return (
    <div className="pane-body">
      <form
        className="bench"
        onSubmit={(event) => {
          event.preventDefault();
          void run();
        }}
        noValidate
        aria-label="Request"
      >
        <AgainstSwitch against={against} onChange={setAgainst} />
        <PlaygroundForm
          project={project}
          form={form}
          onForm={onForm}
          isActive={bench.isActive}
          fault={error instanceof FormFault ? error : null}
        />
        {error !== null && !(error instanceof FormFault) && (
          <p className="error-text breaks" role="alert">
            {messageOf(error)}
          </p>
        )}
        {against === "draft" && !canUseDraft && (
          <p className="small muted">The draft has errors: mend them, or ask what is in force.</p>
        )}
        <div className="row actions">
          <Button
            type="submit"
            leftSection={<IconPlayerPlay size={15} />}
            loading={busy}
            disabled={against === "draft" && !canUseDraft}
          >
            Run
          </Button>
          {outcome !== null && hasTest(outcome.form) && (
            <Button
              variant="default"
              leftSection={<IconTestPipe size={15} />}
              onClick={() => setSaving(true)}
            >
              Save as test…
            </Button>
          )}
        </div>
      </form>
      {outcome !== null && (
        <>
          {(outcome.source !== source || outcome.form !== form) && (
            <p className="note small muted">
              {outcome.form !== form
                ? "The request has changed since: run it again."
                : outcome.against === "force"
                  ? "This was asked of the rules in force, which the draft differs from."
                  : "The draft has changed since: run it again."}
            </p>
          )}
          <Explanation answer={outcome.answer} source={outcome.source} onJump={bench.onJump} />
        </>
      )}
      {isSaving && outcome !== null && (
        <SaveTest
          outcome={outcome}
          onClose={() => setSaving(false)}
          onSave={(test) => {
            setSaving(false);
            onTests(withTestCase(tests, test));
            toast("The test is added");
          }}
        />
      )}
    </div>
  );
}

/** Throws FormFault before anything is asked. */
async function askOne(
  project: string,
  form: TrialForm,
  draft: string | null,
  signal: AbortSignal,
): Promise<TrialAnswer> {
  const result = await explainRules(project, encodeTrial(form, draft), signal);
  return { allowed: result.allowed, results: [result], lookedUp: null };
}

async function askBatch(
  project: string,
  form: TrialForm,
  draft: string | null,
  signal: AbortSignal,
): Promise<TrialAnswer> {
  return explainBatch(project, encodeBatch(form, draft), signal);
}

export function AgainstSwitch({
  against,
  onChange,
}: {
  against: Against;
  onChange: (against: Against) => void;
}): ReactNode {
  return (
    <div className="row">
      <span className="muted small">Ask</span>
      <SegmentedControl
        aria-label="Which rules are asked"
        data={[
          { value: "draft", label: "The draft" },
          { value: "force", label: "In force" },
        ]}
        value={against}
        onChange={(value) => onChange(value as Against)}
      />
    </div>
  );
}
