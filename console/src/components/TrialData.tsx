/** What is there before the request of the playground, and what it writes. */

import { Button, SegmentedControl, Textarea } from "@mantine/core";
import { type ReactNode, useState } from "react";
import { explainRules } from "../api/trials";
import { encodeTrial, fieldsText, readsBefore, type TrialForm, writesData } from "../model/trials";
import { toastError } from "./feedback";

export const MONO = { input: { fontFamily: "var(--mono)", fontSize: 12 } };

/** A part of the form: what it holds, and how it is changed. */
export interface TrialPart {
  project: string;
  form: TrialForm;
  set: (change: Partial<TrialForm>) => void;
  /** What to say at an input. */
  faultOf: (input: keyof TrialForm) => string | null;
}

/** What rules see of a file is its metadata. */
function dataName(form: TrialForm): string {
  return form.service === "objects" ? "Metadata" : "Data";
}

export function DataParts(part: TrialPart): ReactNode {
  const { form } = part;
  return (
    <>
      {readsBefore(form) && <Before {...part} />}
      {writesData(form) && (
        <Data {...part} input="afterText" label={`${dataName(form)} after the write`} />
      )}
    </>
  );
}

function Before(part: TrialPart): ReactNode {
  const { form, set } = part;
  return (
    <fieldset className="part">
      <legend>{form.service === "objects" ? "The file" : "The document"}</legend>
      <SegmentedControl
        aria-label="What is there before"
        data={[
          { value: "stored", label: "As stored" },
          { value: "none", label: "Missing" },
          { value: "given", label: "Made up" },
        ]}
        value={form.before}
        onChange={(value) => set({ before: value as TrialForm["before"] })}
      />
      {form.before === "given" && (
        <Data {...part} input="beforeText" label={`${dataName(form)} before`} />
      )}
    </fieldset>
  );
}

function Data({
  project,
  form,
  set,
  faultOf,
  input,
  label,
}: TrialPart & { input: "beforeText" | "afterText"; label: string }): ReactNode {
  const [busy, setBusy] = useState(false);

  /** What is stored is what a `get` would see. */
  async function load(): Promise<void> {
    setBusy(true);
    try {
      const get: TrialForm = { ...form, method: "get", caller: "nobody", before: "stored" };
      const found = await explainRules(project, encodeTrial(get, null));
      if (found.before === null) throw new Error("nothing is stored there");
      set({ [input]: fieldsText(found.before) });
    } catch (error) {
      toastError("Nothing was taken", error);
    }
    setBusy(false);
  }

  return (
    <div className="data">
      <Textarea
        label={label}
        placeholder={
          form.service === "objects"
            ? '{"size": 1000, "contentType": "image/png"}'
            : '{"text": "hello"}'
        }
        value={form[input]}
        error={faultOf(input)}
        onChange={(event) => set({ [input]: event.currentTarget.value })}
        autosize
        minRows={3}
        maxRows={16}
        spellCheck={false}
        styles={MONO}
      />
      <Button
        variant="subtle"
        color="gray"
        size="compact-xs"
        loading={busy}
        disabled={form.path.trim() === ""}
        onClick={load}
      >
        Take what is stored
      </Button>
    </div>
  );
}
