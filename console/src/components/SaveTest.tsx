/** A request of the playground, kept as a test. */

import { SegmentedControl, TextInput } from "@mantine/core";
import { type ReactNode, useState } from "react";
import type { TestCase } from "../model/testcases";
import { isBatch, testCaseOf, type TrialForm } from "../model/trials";
import { FormDialog } from "./FormDialog";
import type { Outcome } from "./PlaygroundPane";

/** Tests list files by prefix, never by folder. */
export function hasTest(form: TrialForm): boolean {
  return form.service === "documents" || form.method !== "list" || !form.byFolder;
}

function callerName(form: TrialForm): string {
  return form.caller === "nobody" ? "nobody" : form.caller === "user" ? form.user : form.uid;
}

export function SaveTest({
  outcome: { form, answer, source },
  onClose,
  onSave,
}: {
  outcome: Outcome;
  onClose: () => void;
  onSave: (test: TestCase) => void;
}): ReactNode {
  const [name, setName] = useState(nameOf(form, answer.allowed));
  const [expect, setExpect] = useState<TestCase["expect"]>(answer.allowed ? "allow" : "deny");
  return (
    <FormDialog
      title="Save as a test"
      action="Add to the tests"
      size="sm"
      disabled={name.trim() === ""}
      onSubmit={() => onSave(testCaseOf(form, answer.results, source, name.trim(), expect))}
      onClose={onClose}
    >
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
    </FormDialog>
  );
}

function nameOf(form: TrialForm, allowed: boolean): string {
  const others = isBatch(form) ? ` and ${form.others.length} more` : "";
  const may = allowed ? "may" : "may not";
  return `${callerName(form)} ${may} ${form.method} ${form.path.trim()}${others}`;
}
