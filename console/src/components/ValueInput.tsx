/** One value as a person edits it: its type and its text. */

import { Button, NativeSelect, Textarea, TextInput } from "@mantine/core";
import type { KeyboardEvent, ReactNode } from "react";
import { hidesNothing } from "../model/text";
import { convertText, KIND_HINTS, KIND_NAMES } from "../model/inputs";
import { KINDS, type Kind } from "../model/values";

export interface ValueText {
  kind: Kind;
  text: string;
}

export function KindSelect({
  value,
  onChange,
  kinds = KINDS,
}: {
  value: ValueText;
  onChange: (value: ValueText) => void;
  kinds?: readonly Kind[];
}): ReactNode {
  return (
    <NativeSelect
      aria-label="Type"
      w={112}
      value={value.kind}
      onChange={(event) => {
        const kind = event.currentTarget.value as Kind;
        onChange({ kind, text: convertText(value.text, value.kind, kind) });
      }}
      data={kinds.map((kind) => ({ value: kind, label: KIND_NAMES[kind] }))}
    />
  );
}

/** The input for the text. Enter in a one-line input submits the form around it. */
export function ValueInput({
  value,
  onChange,
  autoFocus = false,
  oneLine = false,
  label = "Value",
}: {
  value: ValueText;
  onChange: (value: ValueText) => void;
  autoFocus?: boolean;
  /** Never a text area; the same input stays while the type changes under the typing. */
  oneLine?: boolean;
  label?: string;
}): ReactNode {
  const { kind, text } = value;
  const set = (next: string) => onChange({ kind, text: next });
  const shared = {
    "aria-label": label,
    value: text,
    spellCheck: false,
    autoComplete: "off",
    autoFocus,
    placeholder: KIND_HINTS[kind] ?? "",
    className: "grow",
    // An input shows no marks; what stands beside it does.
    ...(hidesNothing(text) ? {} : { description: `With hidden characters: ${text}` }),
    styles: { input: { fontFamily: "var(--mono)", fontSize: 12 } },
  };
  if (kind === "null") return <span className="v v-null grow">null</span>;
  if (kind === "boolean")
    return (
      <NativeSelect
        aria-label={label}
        className="grow"
        value={text === "true" ? "true" : "false"}
        onChange={(event) => set(event.currentTarget.value)}
        data={["true", "false"]}
        autoFocus={autoFocus}
      />
    );
  if (!oneLine && /^(string|map|array|vector)$/.test(kind))
    return (
      <Textarea
        {...shared}
        autosize
        minRows={1}
        maxRows={12}
        onChange={(event) => set(event.currentTarget.value)}
        onKeyDown={submitOnEnter}
      />
    );
  return (
    <>
      <TextInput {...shared} onChange={(event) => set(event.currentTarget.value)} />
      {kind === "timestamp" && !oneLine && (
        <Button variant="default" px={8} onClick={() => set(new Date().toISOString())}>
          Now
        </Button>
      )}
    </>
  );
}

/** Enter applies, Shift+Enter starts a line. */
function submitOnEnter(event: KeyboardEvent<HTMLTextAreaElement>): void {
  if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
  event.preventDefault();
  event.currentTarget.form?.requestSubmit();
}
