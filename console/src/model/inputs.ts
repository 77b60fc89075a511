/** Between a value and the text in which a person edits it. */

import { type Json, parseJson, writeJson } from "./json";
import {
  byteLength,
  checkBase64,
  checkReference,
  decodeInteger,
  decodeValue,
  doubleText,
  encodeValue,
  InvalidValue,
  type Kind,
  makeGeo,
  normalTimestamp,
  type Value,
} from "./values";

export const KIND_NAMES: Readonly<Record<Kind, string>> = {
  string: "string",
  integer: "integer",
  double: "double",
  boolean: "boolean",
  timestamp: "timestamp",
  map: "map",
  array: "array",
  reference: "reference",
  geo: "geo point",
  bytes: "bytes",
  vector: "vector",
  null: "null",
};

export const KIND_HINTS: Readonly<Partial<Record<Kind, string>>> = {
  integer: "42",
  double: "3.5, NaN, Infinity",
  timestamp: "2026-11-22T17:00:00Z",
  reference: "users/ada",
  geo: "48.2, 16.4",
  bytes: "base64",
  vector: "[0.1, 0.2]",
  array: "[1, 2]",
  map: '{"a": 1}',
};

/** The text that is edited, of one line if asked; `valueOfText` with the same kind gives the value back. */
export function textOfValue(value: Value, indent: number | "line" = 2): string {
  switch (value.kind) {
    case "null":
      return "";
    case "boolean":
    case "integer":
      return String(value.value);
    case "double":
      return doubleText(value.value);
    case "geo":
      return `${value.latitude}, ${value.longitude}`;
    case "vector":
    case "array":
    case "map": {
      const tree = encodeValue(value, true);
      return value.kind === "vector" ? writeJson([...value.values], 1) : writeJson(tree, indent);
    }
    default:
      return value.value;
  }
}

/** Throws InvalidValue that says what is wanted. `read`: what may stand in JSON. */
export function valueOfText(
  kind: Kind,
  text: string,
  read: (tree: Json) => Value = decodeValue,
): Value {
  const bare = text.trim();
  switch (kind) {
    case "null":
      return { kind };
    case "boolean":
      if (bare !== "true" && bare !== "false") throw new InvalidValue("", "must be true or false");
      return { kind, value: bare === "true" };
    case "integer":
      return { kind, value: decodeInteger(bare.replace(/^\+/, "")) };
    case "double":
      return { kind, value: doubleOfText(bare) };
    case "timestamp":
      return { kind, value: normalTimestamp(bare) };
    case "string":
      return { kind, value: text };
    case "bytes":
      return { kind, value: checkBase64(padded(bare.replace(/\s+/g, ""))) };
    case "reference":
      return { kind, value: checkReference(bare.replace(/^\/+/, "")) };
    case "geo": {
      const parts = bare.split(/[\s,;]+/);
      if (parts.length !== 2) throw new InvalidValue("", "must be latitude, longitude");
      const [latitude, longitude] = parts.map(doubleOfText) as [number, number];
      return makeGeo(latitude, longitude);
    }
    default:
      return structureOfText(kind, bare, read);
  }
}

/** What is pasted often lacks the padding. */
function padded(base64: string): string {
  return base64 + "=".repeat((4 - (base64.length % 4)) % 4);
}

function structureOfText(
  kind: "array" | "map" | "vector",
  bare: string,
  read: (tree: Json) => Value,
): Value {
  const empty = kind === "map" ? "{}" : "[]";
  let value: Value;
  try {
    const { tree } = parseJson(bare === "" ? empty : bare);
    value = read(kind === "vector" ? { $vector: tree } : tree);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    // What is no value may be good JSON.
    const fault = error instanceof InvalidValue ? "cannot be stored" : "must be JSON";
    throw new InvalidValue("", `${fault}: ${message}`);
  }
  if (value.kind !== kind)
    throw new InvalidValue("", kind === "map" ? "must be a JSON object" : "must be a JSON array");
  return value;
}

function doubleOfText(text: string): number {
  if (text === "NaN") return Number.NaN;
  if (text === "Infinity" || text === "+Infinity") return Number.POSITIVE_INFINITY;
  if (text === "-Infinity") return Number.NEGATIVE_INFINITY;
  if (!/^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(text))
    throw new InvalidValue("", "must be a number");
  return Number(text);
}

/** The text of one kind as a start for another, where that makes sense. */
export function convertText(text: string, from: Kind, to: Kind): string {
  if (to === "boolean") return text.trim() === "true" ? "true" : "false";
  if (to === "timestamp" && from !== "string") return new Date().toISOString();
  if (to === "map") return "{}";
  if (to === "array" || to === "vector") return "[]";
  if (from === "map" || from === "array" || from === "vector") return "";
  if (to === "integer" && from === "double") return text.replace(/\.0*$/, "");
  return text;
}

/** One line that stands for the value in a table. */
export function previewOfValue(value: Value): string {
  switch (value.kind) {
    case "null":
      return "null";
    case "string":
      return value.value.length > 200 ? `${value.value.slice(0, 200)}…` : value.value;
    case "bytes":
      return `${byteLength(value.value)} bytes`;
    case "timestamp":
      return shortTime(value.value);
    case "vector":
      return `vector(${value.values.length})`;
    case "array":
      return `[${listPreview(value.values.map(previewOfValue))}]`;
    case "map":
      return `{${listPreview([...value.fields].map(([name, item]) => `${name}: ${previewOfValue(item)}`))}}`;
    default:
      return textOfValue(value);
  }
}

function listPreview(items: readonly string[]): string {
  const shown = items
    .slice(0, 4)
    .map((item) => (item.length > 40 ? `${item.slice(0, 40)}…` : item));
  return shown.join(", ") + (items.length > 4 ? `, … ${items.length - 4} more` : "");
}

/** The same to the millisecond, for what may come several times a second. */
export function exactTime(text: string): string {
  const moment = new Date(text);
  const part = String(moment.getMilliseconds()).padStart(3, "0");
  return Number.isNaN(moment.getTime()) ? text : `${shortTime(text)}.${part}`;
}

/** A time in the browser's zone, to the second. */
export function shortTime(text: string): string {
  const moment = new Date(text);
  if (Number.isNaN(moment.getTime())) return text;
  const two = (part: number) => String(part).padStart(2, "0");
  const day = `${String(moment.getFullYear()).padStart(4, "0")}-${two(moment.getMonth() + 1)}-${two(moment.getDate())}`;
  return `${day} ${two(moment.getHours())}:${two(moment.getMinutes())}:${two(moment.getSeconds())}`;
}
