/** The fields of a document as a tree that can be edited in place, by mouse or keyboard. */

import { Button, TextInput, Tooltip } from "@mantine/core";
import { IconArrowUpRight, IconChevronRight, IconPlus, IconTrash } from "@tabler/icons-react";
import { type FormEvent, Fragment, type ReactNode, useEffect, useRef, useState } from "react";
import { type Place, placeKey, valueAt, withName, withoutValue, withValue } from "../model/drafts";
import { KIND_NAMES, shortTime, textOfValue, valueOfText } from "../model/inputs";
import {
  byteLength,
  type Fields,
  faultOfFieldName,
  InvalidValue,
  isSame,
  type Value,
} from "../model/values";
import { Marked } from "../visible/Marked";
import { KindSelect, ValueInput, type ValueText } from "./ValueInput";

/** An edit of one row that is not applied yet. */
export interface RowEdit {
  /** The row, or for a new one its holder. */
  place: Place;
  isNew: boolean;
  name: string;
  value: ValueText;
  /** As it was opened, to tell whether anything was typed. */
  opened: { name: string; value: ValueText };
}

export function isTouched(edit: RowEdit | null): boolean {
  if (edit === null) return false;
  const { name, value, opened } = edit;
  return (
    name !== opened.name || value.kind !== opened.value.kind || value.text !== opened.value.text
  );
}

/** The fields with the edit applied. Throws InvalidValue that says what is wrong. */
export function applyEdit(fields: Fields, edit: RowEdit): Fields {
  const holder = edit.isNew ? edit.place : edit.place.slice(0, -1);
  const inside = holder.length === 0 ? null : valueAt(fields, holder);
  const value = valueOfText(edit.value.kind, edit.value.text);
  if (inside?.kind === "array") {
    if (value.kind === "array")
      throw new InvalidValue("", "an array cannot hold an array directly");
    const index = edit.isNew ? inside.values.length : (edit.place.at(-1) as number);
    return withValue(fields, [...holder, index], value);
  }
  const siblings = inside?.kind === "map" ? inside.fields : fields;
  const fault = faultOfFieldName(edit.name);
  if (fault !== null) throw new InvalidValue("", fault);
  const old = edit.isNew ? null : edit.place.at(-1);
  if (edit.name !== old && siblings.has(edit.name))
    throw new InvalidValue("", "there is a field of that name");
  const renamed = old === null ? fields : withName(fields, edit.place, edit.name);
  return withValue(renamed, [...holder, edit.name], value);
}

export interface FieldsTreeProps {
  fields: Fields;
  /** What is stored; rows that differ from it are marked. */
  base: Fields;
  /** Top-level fields that somebody else has just changed. */
  fresh?: ReadonlySet<string>;
  edit: RowEdit | null;
  onEdit: (edit: RowEdit | null) => void;
  /** The address of a referenced document; null where it cannot be shown. */
  hrefOf?: (reference: string) => string | null;
  /** Ends an open edit too. */
  onChange: (fields: Fields) => void;
}

const SHOWN_FIRST = 200;

export function FieldsTree(props: FieldsTreeProps): ReactNode {
  const { fields, edit, onEdit } = props;
  return (
    <div className="tree">
      <Children {...props} holder={[]} />
      {edit?.isNew === true && edit.place.length === 0 ? (
        <RowForm {...props} edit={edit} depth={0} hasName />
      ) : (
        <Button
          className="add"
          variant="subtle"
          color="gray"
          size="compact-xs"
          leftSection={<IconPlus size={14} />}
          onClick={() => onEdit(newRow([], fields))}
        >
          Add field
        </Button>
      )}
    </div>
  );
}

function newRow(place: Place, fields: Fields): RowEdit {
  // The next element of an array is most likely of the type of the last.
  const holder = place.length === 0 ? null : valueAt(fields, place);
  const last = holder?.kind === "array" ? holder.values.at(-1) : undefined;
  const kind = last === undefined || last.kind === "null" ? "string" : last.kind;
  const text = kind === "map" ? "{}" : kind === "boolean" ? "false" : "";
  const value: ValueText = { kind, text };
  return { place, isNew: true, name: "", value, opened: { name: "", value } };
}

function rowEdit(place: Place, value: Value): RowEdit {
  const name = String(place.at(-1));
  const opened = { name, value: { kind: value.kind, text: textOfValue(value) } };
  return { place, isNew: false, name, value: opened.value, opened };
}

function entriesOf(value: Value): [string | number, Value][] {
  if (value.kind === "map") return [...value.fields];
  if (value.kind === "array") return value.values.map((item, index) => [index, item]);
  return [];
}

function Children(props: FieldsTreeProps & { holder: Place }): ReactNode {
  const { holder, fields } = props;
  const [most, setMost] = useState(SHOWN_FIRST);
  const value: Value =
    holder.length === 0 ? { kind: "map", fields } : (valueAt(fields, holder) ?? { kind: "null" });
  const entries = entriesOf(value);
  return (
    <>
      {entries.slice(0, most).map(([step, item]) => (
        <Row key={step} {...props} place={[...holder, step]} value={item} />
      ))}
      {entries.length > most && (
        <Button
          variant="subtle"
          color="gray"
          size="compact-xs"
          ml={24 + holder.length * 16}
          onClick={() => setMost(most * 5)}
        >
          {entries.length - most} more
        </Button>
      )}
    </>
  );
}

function Row(props: FieldsTreeProps & { place: Place; value: Value }): ReactNode {
  const { place, value, fields, base, fresh, edit, onEdit, onChange } = props;
  const isHolder = value.kind === "map" || value.kind === "array";
  const [open, setOpen] = useState(place.length < 2);
  const depth = place.length - 1;
  const name = place.at(-1) as string | number;
  const stored = valueAt(base, place);
  const isMine = edit !== null && placeKey(edit.place) === placeKey(place);
  if (isMine && edit.isNew === false)
    return <RowForm {...props} edit={edit} depth={depth} hasName={typeof name === "string"} />;
  const label = place.join(".");
  const href = value.kind === "reference" ? (props.hrefOf?.(value.value) ?? null) : null;
  return (
    <>
      <div
        className="node"
        style={{ "--depth": depth } as React.CSSProperties}
        data-changed={stored === undefined || !isSame(stored, value) || undefined}
        data-fresh={(depth === 0 && fresh?.has(String(name))) || undefined}
      >
        {isHolder ? (
          <button
            type="button"
            className="bare fold"
            aria-expanded={open}
            aria-label={`${open ? "Fold" : "Unfold"} ${label}`}
            onClick={() => setOpen(!open)}
          >
            <IconChevronRight />
          </button>
        ) : (
          <span />
        )}
        <span className={typeof name === "number" ? "name index" : "name"} title={String(name)}>
          {name}
        </span>
        <button
          type="button"
          className={`bare value v v-${value.kind}`}
          data-place={placeKey(place)}
          onClick={() => onEdit(rowEdit(place, value))}
        >
          <span className="sr-only">Edit {label}: </span>
          <ValueLine value={value} />
        </button>
        <span className="tail">
          <span className="type">{KIND_NAMES[value.kind]}</span>
          <span className="acts">
            {isHolder && (
              <Tooltip label={value.kind === "map" ? "Add field" : "Add element"}>
                <button
                  type="button"
                  className="bare"
                  aria-label={`Add to ${label}`}
                  onClick={() => {
                    setOpen(true);
                    onEdit(newRow(place, fields));
                  }}
                >
                  <IconPlus />
                </button>
              </Tooltip>
            )}
            {href !== null && (
              <Tooltip label="Open document">
                <a className="bare" href={href} aria-label={`Open document of ${label}`}>
                  <IconArrowUpRight />
                </a>
              </Tooltip>
            )}
            <Tooltip label="Remove">
              <button
                type="button"
                className="bare"
                aria-label={`Remove ${label}`}
                onClick={() => onChange(withoutValue(fields, place))}
              >
                <IconTrash />
              </button>
            </Tooltip>
          </span>
        </span>
      </div>
      {isHolder && open && (
        <Fragment>
          <Children {...props} holder={place} />
          {isMine && (
            <RowForm {...props} edit={edit} depth={depth + 1} hasName={value.kind === "map"} />
          )}
        </Fragment>
      )}
    </>
  );
}

function ValueLine({ value }: { value: Value }): ReactNode {
  switch (value.kind) {
    case "map":
      return `{ ${count(value.fields.size, "field")} }`;
    case "array":
      return `[ ${count(value.values.length, "element")} ]`;
    case "string":
      return <Marked text={`"${value.value}"`} keepsLines />;
    case "null":
      return "null";
    case "timestamp":
      return <span title={`${shortTime(value.value)} here`}>{value.value}</span>;
    case "bytes":
      return `${value.value.slice(0, 400)}${value.value.length > 400 ? "…" : ""} (${count(byteLength(value.value), "byte")})`;
    default:
      return <Marked text={textOfValue(value)} />;
  }
}

function count(number: number, word: string): string {
  return `${number} ${word}${number === 1 ? "" : "s"}`;
}

/** Where the edited value stands afterwards. */
function placeOfEdit(next: Fields, edit: RowEdit): Place {
  const holder = edit.isNew ? edit.place : edit.place.slice(0, -1);
  const inside = holder.length === 0 ? null : valueAt(next, holder);
  if (inside?.kind !== "array") return [...holder, edit.name];
  return edit.isNew ? [...holder, inside.values.length - 1] : edit.place;
}

/** Gives the focus to a row, unless something else has taken it. */
function focusPlace(place: string): void {
  if (document.activeElement !== document.body) return;
  document.querySelector<HTMLElement>(`[data-place="${CSS.escape(place)}"]`)?.focus();
}

function RowForm({
  fields,
  edit,
  depth,
  hasName,
  onEdit,
  onChange,
}: FieldsTreeProps & { edit: RowEdit; depth: number; hasName: boolean }): ReactNode {
  const [error, setError] = useState<string | null>(null);
  const nameFirst = edit.isNew && hasName;
  const back = useRef(placeKey(edit.place));

  useEffect(
    () => () => {
      const place = back.current;
      setTimeout(() => focusPlace(place));
    },
    [],
  );

  function submit(event: FormEvent): void {
    event.preventDefault();
    event.stopPropagation();
    try {
      const next = applyEdit(fields, edit);
      back.current = placeKey(placeOfEdit(next, edit));
      onChange(next);
    } catch (failure) {
      setError(failure instanceof Error ? failure.message : String(failure));
    }
  }

  return (
    <form
      className="editing"
      style={{ "--depth": depth } as React.CSSProperties}
      onSubmit={submit}
      onKeyDown={(event) => {
        if (event.key !== "Escape") return;
        event.stopPropagation();
        event.preventDefault();
        onEdit(null);
      }}
      aria-label={edit.isNew ? "New field" : `Edit ${edit.place.join(".")}`}
    >
      <div className="line">
        {hasName && (
          <TextInput
            aria-label="Field name"
            placeholder="name"
            w={140}
            value={edit.name}
            onChange={(event) => onEdit({ ...edit, name: event.currentTarget.value })}
            autoFocus={nameFirst}
            spellCheck={false}
            autoComplete="off"
            styles={{ input: { fontFamily: "var(--mono)", fontSize: 12 } }}
          />
        )}
        <KindSelect value={edit.value} onChange={(value) => onEdit({ ...edit, value })} />
        <ValueInput
          value={edit.value}
          onChange={(value) => onEdit({ ...edit, value })}
          autoFocus={!nameFirst}
        />
      </div>
      <div className="line" style={{ alignItems: "center" }}>
        <span className="grow error-text" role="alert">
          {error}
        </span>
        <Button variant="subtle" color="gray" size="compact-xs" onClick={() => onEdit(null)}>
          Cancel
        </Button>
        <Button type="submit" size="compact-xs">
          {edit.isNew ? "Add" : "Apply"}
        </Button>
      </div>
    </form>
  );
}
