/** What a query shows of its documents: themselves, numbers, or groups of equal values. */

import { NativeSelect, TextInput } from "@mantine/core";
import type { ReactNode } from "react";
import { SHOWS, type Shows } from "../model/asked";
import { AGGREGATES, type AggregateDraft, type QueryDraft } from "../model/builder";
import { FieldInput } from "./ClauseEditor";
import { ClauseList } from "./ClauseList";

const AGGREGATES_MAX = 5;
const COUNT: AggregateDraft = { op: "count", field: "" };
const NEW_NUMBER: AggregateDraft = { op: "sum", field: "" };
const MONO = { input: { fontFamily: "var(--mono)", fontSize: 12 } };
const LABELS: Readonly<Record<Shows, string>> = {
  documents: "documents",
  numbers: "numbers: count, sum, average, least, greatest",
  groups: "groups of equal values, distinct values",
};

export function ShowEditor({
  draft,
  names,
  onChange,
}: {
  draft: QueryDraft;
  names: readonly string[];
  onChange: (draft: QueryDraft) => void;
}): ReactNode {
  const { shows, aggregates } = draft;
  return (
    <section>
      <h2>Show</h2>
      <NativeSelect
        aria-label="Show"
        value={shows}
        onChange={(event) => {
          const next = event.currentTarget.value as Shows;
          const numbers = next === "numbers" && aggregates.length === 0 ? [COUNT] : aggregates;
          onChange({ ...draft, shows: next, aggregates: numbers });
        }}
        data={SHOWS.map((value) => ({ value, label: LABELS[value] }))}
      />
      {shows === "documents" && (
        <FieldsInput
          label="Fields"
          placeholder="all fields, or name, address.city"
          value={draft.select}
          onChange={(select) => onChange({ ...draft, select })}
        />
      )}
      {shows === "groups" && (
        <FieldsInput
          label="Group by"
          placeholder="country, address.city"
          value={draft.groupBy}
          onChange={(groupBy) => onChange({ ...draft, groupBy })}
        />
      )}
      {shows !== "documents" && (
        <Numbers
          aggregates={aggregates}
          names={names}
          least={shows === "numbers" ? 1 : 0}
          onChange={(next) => onChange({ ...draft, aggregates: next })}
        />
      )}
      {shows === "groups" && aggregates.length === 0 && (
        <p className="muted small">Without numbers: the distinct values.</p>
      )}
    </section>
  );
}

function FieldsInput({
  label,
  placeholder,
  value,
  onChange,
}: {
  label: string;
  placeholder: string;
  value: string;
  onChange: (text: string) => void;
}): ReactNode {
  return (
    <TextInput
      aria-label={label}
      placeholder={placeholder}
      value={value}
      onChange={(event) => onChange(event.currentTarget.value)}
      spellCheck={false}
      autoComplete="off"
      styles={MONO}
    />
  );
}

function Numbers({
  aggregates,
  names,
  least,
  onChange,
}: {
  aggregates: readonly AggregateDraft[];
  names: readonly string[];
  least: number;
  onChange: (aggregates: readonly AggregateDraft[]) => void;
}): ReactNode {
  return (
    <ClauseList
      name="number"
      items={aggregates}
      made={aggregates.length === 0 ? COUNT : NEW_NUMBER}
      least={least}
      most={AGGREGATES_MAX}
      onChange={onChange}
    >
      {(item, set) => (
        <>
          <NativeSelect
            aria-label="Number"
            value={item.op}
            onChange={(event) =>
              set({ ...item, op: event.currentTarget.value as AggregateDraft["op"] })
            }
            data={[...AGGREGATES]}
          />
          {item.op === "count" ? (
            <span className="grow muted small">of documents</span>
          ) : (
            <FieldInput
              label="Field of the number"
              value={item.field}
              names={names}
              onChange={(field) => set({ ...item, field })}
            />
          )}
        </>
      )}
    </ClauseList>
  );
}
