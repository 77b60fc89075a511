/** A document's fields being edited, as a tree or as JSON; both change the same draft. */

import { SegmentedControl } from "@mantine/core";
import { lazy, type ReactNode, Suspense, useMemo } from "react";
import { JsonError, parseJson, writeJson } from "../model/json";
import {
  decodeFields,
  encodeFields,
  type Fields,
  InvalidValue,
  isSameFields,
} from "../model/values";
import type { Mark } from "./CodeEditor";
import { applyEdit, FieldsTree, isTouched, type RowEdit } from "./FieldsTree";
import { Loading } from "./feedback";

export interface Draft {
  mode: "tree" | "json";
  fields: Fields;
  edit: RowEdit | null;
  /** In JSON mode what is typed, valid or not. */
  text: string;
}

export function draftOf(fields: Fields, mode: Draft["mode"] = "tree"): Draft {
  return { mode, fields, edit: null, text: mode === "json" ? textOf(fields) : "" };
}

function textOf(fields: Fields): string {
  return writeJson(encodeFields(fields, true), 2);
}

export function isDirty(draft: Draft, base: Fields): boolean {
  if (draft.mode === "json" && draft.text !== textOf(draft.fields)) {
    const parsed = parseFields(draft.text);
    if (parsed.mark !== null || !isSameFields(parsed.fields, base)) return true;
  }
  return isTouched(draft.edit) || !isSameFields(draft.fields, base);
}

/** The fields that the draft stands for, with an open edit applied. Throws InvalidValue. */
export function finishedFields(draft: Draft): Fields {
  if (draft.mode === "json") {
    const { fields, mark } = parseFields(draft.text);
    if (mark !== null) throw new InvalidValue("", mark.message);
    return fields;
  }
  const { edit } = draft;
  return edit !== null && isTouched(edit) ? applyEdit(draft.fields, edit) : draft.fields;
}

function parseFields(text: string): { fields: Fields; mark: Mark | null } {
  const none: Fields = new Map();
  const mark = (from: number, message: string): Mark => ({
    from,
    to: from + 1,
    severity: "error",
    message,
  });
  try {
    const { tree, offsets } = parseJson(text);
    try {
      return { fields: decodeFields(tree), mark: null };
    } catch (error) {
      if (!(error instanceof InvalidValue)) throw error;
      const where = error.at === "" ? "" : `${error.at}: `;
      return { fields: none, mark: mark(offsets.get(error.at) ?? 0, where + error.message) };
    }
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    return { fields: none, mark: mark(error.offset, error.message) };
  }
}

// The code editor is most of the console's weight and is seldom needed here.
const JsonEditor = lazy(() => import("./JsonEditor"));

export function FieldsEditor({
  draft,
  base,
  fresh,
  hrefOf,
  onChange,
}: {
  draft: Draft;
  base: Fields;
  fresh?: ReadonlySet<string>;
  hrefOf?: (reference: string) => string | null;
  onChange: (draft: Draft) => void;
}): ReactNode {
  const marks = useMemo(() => {
    if (draft.mode !== "json") return [];
    const { mark } = parseFields(draft.text);
    return mark === null ? [] : [mark];
  }, [draft.mode, draft.text]);
  if (draft.mode === "json")
    return (
      <Suspense fallback={<Loading label="Loading the editor" />}>
        <JsonEditor
          value={draft.text}
          marks={marks}
          onChange={(text) => {
            const { fields, mark } = parseFields(text);
            onChange({ ...draft, text, fields: mark === null ? fields : draft.fields });
          }}
        />
      </Suspense>
    );
  return (
    <FieldsTree
      fields={draft.fields}
      base={base}
      {...(fresh === undefined ? {} : { fresh })}
      {...(hrefOf === undefined ? {} : { hrefOf })}
      edit={draft.edit}
      onEdit={(edit) => onChange({ ...draft, edit })}
      onChange={(fields) => onChange({ ...draft, fields, edit: null })}
    />
  );
}

export function ModeSwitch({
  draft,
  onChange,
  onError,
}: {
  draft: Draft;
  onChange: (draft: Draft) => void;
  onError: (error: unknown) => void;
}): ReactNode {
  return (
    <SegmentedControl
      size="xs"
      aria-label="Edit as"
      data={[
        { value: "tree", label: "Fields" },
        { value: "json", label: "JSON" },
      ]}
      value={draft.mode}
      onChange={(mode) => {
        try {
          onChange(draftOf(finishedFields(draft), mode as Draft["mode"]));
        } catch (error) {
          onError(error);
        }
      }}
    />
  );
}
