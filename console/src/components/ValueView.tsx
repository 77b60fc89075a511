import type { ReactNode } from "react";
import { previewOfValue } from "../model/inputs";
import type { Value } from "../model/values";

/** A value on one line, coloured by its type. Always text: whatever it holds, it is shown. */
export function ValueCell({ value }: { value: Value | undefined }): ReactNode {
  if (value === undefined)
    return (
      <span className="v v-absent">
        –<span className="sr-only">no such field</span>
      </span>
    );
  const empty = value.kind === "string" && value.value === "";
  return <span className={`v v-${value.kind}`}>{empty ? '""' : previewOfValue(value)}</span>;
}
