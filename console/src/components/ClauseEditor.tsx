/** The filters of a query: each with a typed value, in groups of which all or any must match. */

import { Autocomplete, NativeSelect } from "@mantine/core";
import { IconX } from "@tabler/icons-react";
import type { ReactNode } from "react";
import {
  type ClauseDraft,
  EMPTY_FILTER,
  type FilterDraft,
  type GroupDraft,
  withOperator,
} from "../model/builder";
import { OPERATORS, type Operator, scalarKind, takesList } from "../model/queries";
import { KINDS } from "../model/values";
import { AddButton } from "./ClauseList";
import { IconAction } from "./controls";
import { KindSelect, ValueInput } from "./ValueInput";

// A person needs no more; the server takes more.
const DEPTH_MAX = 3;

export function GroupEditor({
  group,
  names,
  onChange,
  onRemove,
  depth = 0,
}: {
  group: GroupDraft;
  /** Names of fields to propose. */
  names: readonly string[];
  onChange: (group: GroupDraft) => void;
  onRemove?: () => void;
  depth?: number;
}): ReactNode {
  const { items, kind } = group;
  const set = (next: readonly ClauseDraft[]) => onChange({ ...group, items: next });
  const setItem = (at: number, item: ClauseDraft) =>
    set(items.map((old, index) => (index === at ? item : old)));
  const remove = (at: number) => set(items.filter((_, index) => index !== at));
  return (
    <fieldset className="clauses" data-nested={depth > 0 || undefined}>
      <legend className="sr-only">{depth === 0 ? "Filters" : "Group of filters"}</legend>
      {(depth > 0 || items.length > 1) && (
        <div className="row">
          <NativeSelect
            aria-label={depth === 0 ? "Documents match" : "The group matches"}
            value={kind}
            onChange={(event) =>
              onChange({ ...group, kind: event.currentTarget.value as GroupDraft["kind"] })
            }
            data={[
              { value: "and", label: "all of these" },
              { value: "or", label: "any of these" },
            ]}
          />
          <span className="grow" />
          {onRemove !== undefined && (
            <IconAction label="Remove the group" onClick={onRemove}>
              <IconX size={15} />
            </IconAction>
          )}
        </div>
      )}
      {items.map((item, at) =>
        item.kind === "filter" ? (
          <FilterRow
            // Filters have no identity but their place.
            key={at}
            filter={item}
            names={names}
            onChange={(next) => setItem(at, next)}
            onRemove={() => remove(at)}
          />
        ) : (
          <GroupEditor
            key={at}
            group={item}
            names={names}
            depth={depth + 1}
            onChange={(next) => setItem(at, next)}
            onRemove={() => remove(at)}
          />
        ),
      )}
      <div className="row adds">
        <AddButton
          name="Filter"
          onClick={() => set([...items, EMPTY_FILTER])}
          {...(depth === 0 ? { dataKey: "f" } : {})}
        />
        {depth < DEPTH_MAX && (
          <AddButton
            name="Group"
            onClick={() =>
              set([...items, { kind: kind === "and" ? "or" : "and", items: [EMPTY_FILTER] }])
            }
          />
        )}
      </div>
    </fieldset>
  );
}

function FilterRow({
  filter,
  names,
  onChange,
  onRemove,
}: {
  filter: FilterDraft;
  names: readonly string[];
  onChange: (filter: FilterDraft) => void;
  onRemove: () => void;
}): ReactNode {
  const value = { kind: filter.type, text: filter.text };
  return (
    <fieldset className="clause" aria-label={`Filter on ${filter.field || "a field"}`}>
      <div className="row">
        <FieldInput
          label="Field"
          value={filter.field}
          names={names}
          onChange={(field) => onChange({ ...filter, field })}
        />
        <NativeSelect
          aria-label="Operator"
          value={filter.op}
          onChange={(event) =>
            onChange(withOperator(filter, event.currentTarget.value as Operator))
          }
          data={[...OPERATORS]}
        />
        <IconAction label={`Remove filter on ${filter.field || "a field"}`} onClick={onRemove}>
          <IconX size={15} />
        </IconAction>
      </div>
      <div className="row">
        <KindSelect
          value={value}
          kinds={takesList(filter.op) ? ["array"] : KINDS}
          onChange={({ kind, text }) => onChange({ ...filter, type: kind, text, chosen: true })}
        />
        <ValueInput
          value={value}
          oneLine
          onChange={({ kind, text }) =>
            onChange({
              ...filter,
              text,
              type: filter.chosen || takesList(filter.op) ? kind : scalarKind(text),
            })
          }
        />
      </div>
    </fieldset>
  );
}

export function FieldInput({
  label,
  value,
  names,
  onChange,
}: {
  label: string;
  value: string;
  names: readonly string[];
  onChange: (field: string) => void;
}): ReactNode {
  return (
    <Autocomplete
      size="xs"
      className="grow"
      aria-label={label}
      placeholder="field"
      data={[...names]}
      value={value}
      onChange={onChange}
      openOnFocus={false}
      limit={8}
      styles={{ input: { fontFamily: "var(--mono)", fontSize: 12 } }}
      spellCheck={false}
    />
  );
}
