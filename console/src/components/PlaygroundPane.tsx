/** A request that nobody made, put to the draft or to the rules in force, and why it came out so. */

import { Button, SegmentedControl, TextInput } from "@mantine/core";
import { IconPlayerPlay, IconTestPipe } from "@tabler/icons-react";
import { type FormEvent, type ReactNode, useEffect, useRef, useState } from "react";
import { messageOf } from "../api/client";
import { explainRules, type TrialResult } from "../api/trials";
import { type TestCase, withTestCase } from "../model/testcases";
import { encodeTrial, FormFault, testCaseOf, type TrialForm } from "../model/trials";
import { paintAttempts } from "../rules/paint";
import type { Span } from "../rules/positions";
import { Dialog } from "./Dialog";
import { Explanation } from "./Explanation";
import { toast } from "./feedback";
import { PlaygroundForm } from "./PlaygroundForm";
import type { PaintedSource } from "./RulesEditor";
import { useRunKey } from "./runKey";

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

interface Outcome {
  form: TrialForm;
  against: Against;
  source: string;
  result: TrialResult;
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
      const trial = encodeTrial(form, against === "draft" ? source : null);
      setBusy(true);
      const result = await explainRules(project, trial, control.signal);
      setOutcome({ form, against, source: asked, result });
      const paints = paintAttempts(asked, result.attempts);
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
        <div className="row">
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
          <Explanation result={outcome.result} source={outcome.source} onJump={bench.onJump} />
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

/** Tests list files by prefix, never by folder. */
function hasTest(form: TrialForm): boolean {
  return form.service === "documents" || form.method !== "list" || !form.byFolder;
}

function callerName(form: TrialForm): string {
  return form.caller === "nobody" ? "nobody" : form.caller === "user" ? form.user : form.uid;
}

function SaveTest({
  outcome,
  onClose,
  onSave,
}: {
  outcome: Outcome;
  onClose: () => void;
  onSave: (test: TestCase) => void;
}): ReactNode {
  const { form, result } = outcome;
  const [name, setName] = useState(
    `${callerName(form)} ${result.allowed ? "may" : "may not"} ${form.method} ${form.path.trim()}`,
  );
  const [expect, setExpect] = useState<TestCase["expect"]>(result.allowed ? "allow" : "deny");

  function submit(event: FormEvent): void {
    event.preventDefault();
    onSave(testCaseOf(form, result, outcome.source, name.trim(), expect));
  }

  return (
    <Dialog onClose={onClose} title="Save as a test" size="sm">
      <form className="stack" onSubmit={submit}>
        <p className="muted">
          The test holds the documents as they are now, so that it means the same tomorrow.
        </p>
        <TextInput
          label="Name"
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
          autoComplete="off"
          data-autofocus
        />
        <div className="row">
          <span className="muted small">Expect</span>
          <SegmentedControl
            aria-label="Expected decision"
            data={["allow", "deny"]}
            value={expect}
            onChange={(value) => setExpect(value as TestCase["expect"])}
          />
        </div>
        <div className="form-actions">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" disabled={name.trim() === ""}>
            Add to the tests
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
