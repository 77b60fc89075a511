/** One schema as text: faults are marked as it is typed. */

import { json } from "@codemirror/lang-json";
import { type ReactNode, useMemo } from "react";
import { faultOfSchema } from "../model/schemas";
import { CodeEditor, type Mark } from "./CodeEditor";

const language = json();

export function SchemaEditor({
  text,
  refusal,
  onChange,
}: {
  text: string;
  refusal: string | null;
  onChange: (text: string) => void;
}): ReactNode {
  const fault = faultOfSchema(text);
  const marks = useMemo<Mark[]>(
    () =>
      fault === null
        ? []
        : [
            {
              from: fault.offset,
              to: fault.offset + 1,
              severity: "error",
              message: fault.message,
            },
          ],
    [fault],
  );
  const problem = fault?.message ?? refusal;
  return (
    <>
      <div className="fill">
        <CodeEditor
          value={text}
          onChange={onChange}
          language={language}
          label="JSON Schema"
          marks={marks}
        />
      </div>
      {problem !== null && (
        <p className="error-text note" role="alert">
          {problem}
        </p>
      )}
    </>
  );
}
