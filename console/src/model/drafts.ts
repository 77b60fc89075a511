/** Edits to a document's fields as pure steps, and the three-way merge with a newer version. */

import { type Fields, isSame, type Value } from "./values";

/** Where a value stands: names of maps and indexes of arrays, outermost first. */
export type Place = readonly (string | number)[];

export function placeKey(place: Place): string {
  return JSON.stringify(place);
}

export function valueAt(fields: Fields, place: Place): Value | undefined {
  let current: Value | undefined = { kind: "map", fields };
  for (const step of place) {
    if (current?.kind === "map" && typeof step === "string") current = current.fields.get(step);
    else if (current?.kind === "array" && typeof step === "number") current = current.values[step];
    else return undefined;
  }
  return current;
}

/** The fields with the value put at a place; its holder must exist. An array may grow by one. */
export function withValue(fields: Fields, place: Place, value: Value): Fields {
  return changedMap(fields, place, () => value);
}

export function withoutValue(fields: Fields, place: Place): Fields {
  return changedMap(fields, place, () => undefined);
}

/** Gives a map's field another name, in its old position. */
export function withName(fields: Fields, place: Place, name: string): Fields {
  const old = place.at(-1);
  if (typeof old !== "string" || old === name) return fields;
  const rename = (map: Fields): Fields =>
    new Map([...map].map(([key, value]) => [key === old ? name : key, value]));
  const holder = place.slice(0, -1);
  if (holder.length === 0) return rename(fields);
  return changedMap(fields, holder, (value) =>
    value?.kind === "map" ? { kind: "map", fields: rename(value.fields) } : value,
  );
}

type Change = (value: Value | undefined) => Value | undefined;

function changedMap(fields: Fields, place: Place, change: Change): Fields {
  const [step, ...rest] = place;
  if (typeof step !== "string") return fields;
  const value = changedValue(fields.get(step), rest, change);
  const next = new Map(fields);
  if (value === undefined) next.delete(step);
  else next.set(step, value);
  return next;
}

function changedValue(value: Value | undefined, place: Place, change: Change): Value | undefined {
  if (place.length === 0) return change(value);
  if (value?.kind === "map")
    return { kind: "map", fields: changedMap(value.fields, place, change) };
  const [step, ...rest] = place;
  if (value?.kind !== "array" || typeof step !== "number") return value;
  const values = [...value.values];
  const changed = changedValue(values[step], rest, change);
  if (changed === undefined) values.splice(step, 1);
  else values[step] = changed;
  return { kind: "array", values };
}

export interface FieldChange {
  name: string;
  before: Value | undefined;
  after: Value | undefined;
}

/** The top-level fields that differ, by name. */
export function changesBetween(before: Fields, after: Fields): FieldChange[] {
  const changes: FieldChange[] = [];
  for (const name of [...new Set([...before.keys(), ...after.keys()])].sort()) {
    const old = before.get(name);
    const fresh = after.get(name);
    if (old !== undefined && fresh !== undefined && isSame(old, fresh)) continue;
    changes.push({ name, before: old, after: fresh });
  }
  return changes;
}

export interface Merge {
  fields: Fields;
  /** Names that both sides changed, differently; the merge keeps mine. */
  conflicts: string[];
}

/** Theirs with my changes on top, by top-level field. */
export function mergeFields(base: Fields, mine: Fields, theirs: Fields): Merge {
  const merged = new Map(theirs);
  const theirChanges = new Map(changesBetween(base, theirs).map((item) => [item.name, item]));
  const conflicts: string[] = [];
  for (const { name, after } of changesBetween(base, mine)) {
    const other = theirChanges.get(name);
    if (other !== undefined && !isSameOrAbsent(other.after, after)) conflicts.push(name);
    if (after === undefined) merged.delete(name);
    else merged.set(name, after);
  }
  return { fields: merged, conflicts };
}

function isSameOrAbsent(a: Value | undefined, b: Value | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return isSame(a, b);
}
