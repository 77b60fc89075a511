/** Where the answer starts and ends: on values of the orders, typed or taken from a document. */

import { Button, NativeSelect, TextInput } from "@mantine/core";
import { IconX } from "@tabler/icons-react";
import { type ReactNode, useState } from "react";
import { getDocumentAt } from "../api/history";
import {
  type CursorDraft,
  cursorAt,
  cursorNames,
  EMPTY_CURSOR,
  EMPTY_VALUE,
  type QueryDraft,
} from "../model/builder";
import { faultOfPath, isDocument, splitPath } from "../model/paths";
import { scalarKind } from "../model/queries";
import { AddButton } from "./ClauseList";
import { IconAction } from "./controls";
import { toastError } from "./feedback";
import { KindSelect, ValueInput } from "./ValueInput";

const SIDES = {
  start: { name: "Start", included: "start at", apart: "start after" },
  end: { name: "End", included: "end at", apart: "end before" },
} as const;
type Side = keyof typeof SIDES;

export function CursorEditor({
  project,
  database,
  draft,
  onChange,
}: {
  project: string;
  database: string;
  draft: QueryDraft;
  onChange: (draft: QueryDraft) => void;
}): ReactNode {
  const sides = (Object.keys(SIDES) as Side[]).filter((side) => draft[side] === null);
  return (
    <>
      {(["start", "end"] as const).map((side) => {
        const cursor = draft[side];
        return (
          cursor !== null && (
            <CursorForm
              key={side}
              project={project}
              database={database}
              draft={draft}
              side={side}
              cursor={cursor}
              onChange={onChange}
            />
          )
        );
      })}
      <div className="row adds">
        {sides.map((side) => (
          <AddButton
            key={side}
            name={SIDES[side].name}
            onClick={() => onChange({ ...draft, [side]: EMPTY_CURSOR })}
          />
        ))}
      </div>
    </>
  );
}

function CursorForm({
  project,
  database,
  draft,
  side,
  cursor,
  onChange,
}: {
  project: string;
  database: string;
  draft: QueryDraft;
  side: Side;
  cursor: CursorDraft;
  onChange: (draft: QueryDraft) => void;
}): ReactNode {
  const [path, setPath] = useState("");
  const [isBusy, setBusy] = useState(false);
  const { name, included, apart } = SIDES[side];
  const names = cursorNames(draft);
  const set = (next: CursorDraft | null) => onChange({ ...draft, [side]: next });

  /** The orders are spelled out: by them the document has a place of its own. */
  async function take(): Promise<void> {
    setBusy(true);
    try {
      const segments = splitPath(path);
      const fault = faultOfPath(segments);
      if (fault !== null || !isDocument(segments))
        throw new Error(fault ?? "name a document, such as cities/oslo");
      const found = await getDocumentAt(project, database, segments, null);
      if (found === null) throw new Error("there is no such document");
      const { orders, values } = cursorAt(draft, found);
      onChange({ ...draft, orders, [side]: { ...cursor, values } });
      setPath("");
    } catch (error) {
      toastError("Nothing was taken", error);
    }
    setBusy(false);
  }

  return (
    <fieldset className="clause boxed-clause" aria-label={name}>
      <div className="row">
        <NativeSelect
          className="grow"
          aria-label={`${name}, which documents`}
          value={cursor.isIncluded ? "included" : "apart"}
          onChange={(event) =>
            set({ ...cursor, isIncluded: event.currentTarget.value === "included" })
          }
          data={[
            { value: "included", label: included },
            { value: "apart", label: apart },
          ]}
        />
        <IconAction label={`Remove the ${side}`} onClick={() => set(null)}>
          <IconX size={15} />
        </IconAction>
      </div>
      {cursor.values.map((value, at) => (
        <div className="stack cursor-value" key={at}>
          <code className="muted truncate" title={names[at]}>
            {names[at] ?? "no order for it"}
          </code>
          <div className="row">
            <KindSelect
              value={{ kind: value.type, text: value.text }}
              onChange={({ kind, text }) =>
                set(withValue(cursor, at, { type: kind, text, chosen: true }))
              }
            />
            <ValueInput
              value={{ kind: value.type, text: value.text }}
              oneLine
              label={`${name} value ${at + 1}`}
              onChange={({ kind, text }) =>
                set(
                  withValue(cursor, at, {
                    ...value,
                    text,
                    type: value.chosen ? kind : scalarKind(text),
                  }),
                )
              }
            />
            {cursor.values.length > 1 && at === cursor.values.length - 1 && (
              <IconAction
                label={`Remove the last value of the ${side}`}
                onClick={() => set({ ...cursor, values: cursor.values.slice(0, -1) })}
              >
                <IconX size={15} />
              </IconAction>
            )}
          </div>
        </div>
      ))}
      <div className="row adds">
        {cursor.values.length < names.length && (
          <AddButton
            name="Value"
            onClick={() => set({ ...cursor, values: [...cursor.values, EMPTY_VALUE] })}
          />
        )}
      </div>
      <div className="row">
        <TextInput
          className="grow"
          aria-label={`${name} at a document`}
          placeholder="or a document: cities/oslo"
          value={path}
          onChange={(event) => setPath(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key !== "Enter") return;
            event.preventDefault();
            void take();
          }}
          spellCheck={false}
          autoComplete="off"
          styles={{ input: { fontFamily: "var(--mono)", fontSize: 12 } }}
        />
        <Button variant="default" loading={isBusy} disabled={path.trim() === ""} onClick={take}>
          Take
        </Button>
      </div>
    </fieldset>
  );
}

function withValue(
  cursor: CursorDraft,
  at: number,
  value: CursorDraft["values"][number],
): CursorDraft {
  return { ...cursor, values: cursor.values.map((old, index) => (index === at ? value : old)) };
}
