/**
 * The values of a document and their native JSON. Integers are bigint, so they stay apart from
 * doubles and exact over the whole of int64; other types are one-key tagged objects in JSON.
 */

import { type Json, type JsonObject, NumberLiteral, placeOf, writeJson } from "./json";
import { faultOfDocumentPath } from "./paths";

export type Value =
  | { kind: "null" }
  | { kind: "boolean"; value: boolean }
  | { kind: "integer"; value: bigint }
  | { kind: "double"; value: number }
  | { kind: "timestamp"; value: string }
  | { kind: "string"; value: string }
  | { kind: "bytes"; value: string }
  | { kind: "reference"; value: string }
  | { kind: "geo"; latitude: number; longitude: number }
  | { kind: "array"; values: readonly Value[] }
  | { kind: "map"; fields: Fields }
  | { kind: "vector"; values: readonly number[] };

export type Kind = Value["kind"];
export type Fields = ReadonlyMap<string, Value>;

export const KINDS: readonly Kind[] = [
  "string",
  "integer",
  "double",
  "boolean",
  "timestamp",
  "map",
  "array",
  "reference",
  "geo",
  "bytes",
  "vector",
  "null",
];

export class InvalidValue extends Error {
  constructor(
    readonly at: string,
    message: string,
  ) {
    super(message);
  }
}

export const INT64_MIN = -(2n ** 63n);
export const INT64_MAX = 2n ** 63n - 1n;
const SAFE = BigInt(Number.MAX_SAFE_INTEGER);
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const TIMESTAMP =
  /^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))$/;

/** Reads one value. Throws InvalidValue that names the place. */
export function decodeValue(tree: Json, at = ""): Value {
  if (tree === null) return { kind: "null" };
  if (typeof tree === "boolean") return { kind: "boolean", value: tree };
  if (typeof tree === "string") return { kind: "string", value: tree };
  if (typeof tree === "number")
    return Number.isInteger(tree)
      ? { kind: "integer", value: checkInteger(BigInt(tree), at) }
      : { kind: "double", value: tree };
  if (tree instanceof NumberLiteral) return decodeLiteral(tree.text, at);
  if (Array.isArray(tree)) {
    const values = tree.map((item, index) => decodeValue(item, placeOf(at, index)));
    const nested = values.findIndex((item) => item.kind === "array");
    if (nested >= 0)
      throw new InvalidValue(placeOf(at, nested), "an array cannot hold an array directly");
    return { kind: "array", values };
  }
  const keys = Object.keys(tree);
  const tag = keys[0] ?? "";
  if (keys.length === 1 && isTag(tag)) return decodeTagged(tag, tree[tag] as Json, at);
  return { kind: "map", fields: decodeFields(tree, at) };
}

/** Reads values that stand side by side, as those of `in`: each for itself, so an array may be one. */
export function decodeList(tree: Json, at = ""): Value {
  if (!Array.isArray(tree)) return decodeValue(tree, at);
  return {
    kind: "array",
    values: tree.map((item, index) => decodeValue(item, placeOf(at, index))),
  };
}

/** Reads the fields of a document or map. */
export function decodeFields(tree: Json, at = ""): Fields {
  if (
    tree === null ||
    typeof tree !== "object" ||
    Array.isArray(tree) ||
    tree instanceof NumberLiteral
  )
    throw new InvalidValue(at, "must be an object");
  const fields = new Map<string, Value>();
  for (const key of Object.keys(tree)) {
    const place = placeOf(at, key);
    if (isTag(key))
      throw new InvalidValue(
        place,
        `a name that starts with $ is written with one more: "$${key}"`,
      );
    const name = key.startsWith("$$") ? key.slice(1) : key;
    const fault = faultOfFieldName(name);
    if (fault !== null) throw new InvalidValue(place, fault);
    fields.set(name, decodeValue(tree[key] as Json, place));
  }
  return fields;
}

/**
 * One value as native JSON, each type unmistakable. With `literals`, whole doubles are written as
 * people do, `3.0`: text that only `parseJson` reads back without loss.
 */
export function encodeValue(value: Value, literals = false): Json {
  switch (value.kind) {
    case "null":
      return null;
    case "boolean":
    case "string":
      return value.value;
    case "integer":
      return value.value >= -SAFE && value.value <= SAFE
        ? Number(value.value)
        : { $int: String(value.value) };
    case "double":
      if (literals && Number.isFinite(value.value))
        return new NumberLiteral(doubleText(value.value));
      return Number.isFinite(value.value) && !Number.isInteger(value.value)
        ? value.value
        : { $double: encodeDouble(value.value) };
    case "timestamp":
      return { $timestamp: value.value };
    case "bytes":
      return { $bytes: value.value };
    case "reference":
      return { $ref: value.value };
    case "geo":
      return { $geo: [encodeDouble(value.latitude), encodeDouble(value.longitude)] };
    case "vector":
      return { $vector: value.values.map(encodeDouble) };
    case "array":
      return value.values.map((item) => encodeValue(item, literals));
    case "map":
      return encodeFields(value.fields, literals);
  }
}

export function encodeFields(fields: Fields, literals = false): JsonObject {
  const tree = Object.create(null) as JsonObject;
  for (const [name, value] of fields)
    tree[name.startsWith("$") ? `$${name}` : name] = encodeValue(value, literals);
  return tree;
}

/** A double where the context says that it is one: what JSON cannot write is text. */
function encodeDouble(value: number): Json {
  if (Object.is(value, -0)) return "-0";
  return Number.isFinite(value) ? value : String(value);
}

/** Same type and same content; unlike a query's equality, 3 and 3.0 differ. */
export function isSame(a: Value, b: Value): boolean {
  if (a === b) return true;
  if (a.kind !== b.kind) return false;
  if (a.kind === "map" && b.kind === "map") return isSameFields(a.fields, b.fields);
  if (a.kind === "array" && b.kind === "array")
    return (
      a.values.length === b.values.length &&
      a.values.every((item, index) => isSame(item, b.values[index] as Value))
    );
  return writeJson(encodeValue(a)) === writeJson(encodeValue(b));
}

export function isSameFields(a: Fields, b: Fields): boolean {
  if (a === b) return true;
  if (a.size !== b.size) return false;
  for (const [name, value] of a) {
    const other = b.get(name);
    if (other === undefined || !isSame(value, other)) return false;
  }
  return true;
}

/** Says what is wrong with a field's name, or null. */
export function faultOfFieldName(name: string): string | null {
  if (name === "") return "a field needs a name";
  if (/^__.*__$/s.test(name)) return "names of the form __…__ are reserved";
  if (new TextEncoder().encode(name).length > 1500) return "a name has at most 1,500 bytes";
  return null;
}

/** An RFC 3339 time in UTC with six digits, as the server writes it. Throws InvalidValue. */
export function normalTimestamp(text: string, at = ""): string {
  const found = TIMESTAMP.exec(text.trim());
  const fault = () =>
    new InvalidValue(at, "must be an RFC 3339 time such as 2026-11-22T17:00:00.123456Z");
  if (found === null) throw fault();
  const [, year, month, day, hour, minute, second, fraction = "", sign, hours, minutes] = found;
  const moment = new Date(0);
  moment.setUTCFullYear(Number(year), Number(month) - 1, Number(day));
  moment.setUTCHours(Number(hour), Number(minute), Number(second));
  const written = `${year}-${month}-${day}T${hour}:${minute}:${second}`;
  if (Number(year) < 1 || moment.toISOString().slice(0, 19) !== written) throw fault();
  if (sign !== undefined) {
    if (Number(hours) > 23 || Number(minutes) > 59) throw fault();
    const shift = (Number(hours) * 60 + Number(minutes)) * (sign === "+" ? -1 : 1);
    moment.setTime(moment.getTime() + shift * 60_000);
  }
  return `${moment.toISOString().slice(0, 19)}.${fraction.padEnd(6, "0").slice(0, 6)}Z`;
}

export function byteLength(base64: string): number {
  return Math.floor((base64.replace(/=+$/, "").length * 3) / 4);
}

/** A double as text that reads back as the same double and never looks like an integer. */
export function doubleText(value: number): string {
  if (Object.is(value, -0)) return "-0.0";
  const text = String(value);
  return /^-?\d+$/.test(text) ? `${text}.0` : text;
}

function isTag(key: string): boolean {
  return key.startsWith("$") && !key.startsWith("$$");
}

function checkInteger(value: bigint, at: string): bigint {
  if (value < INT64_MIN || value > INT64_MAX)
    throw new InvalidValue(at, "an integer must fit in 64 bits");
  return value;
}

function decodeLiteral(text: string, at: string): Value {
  if (!/[.eE]/.test(text)) return { kind: "integer", value: checkInteger(BigInt(text), at) };
  const value = Number(text);
  if (!Number.isFinite(value)) throw new InvalidValue(at, "is too large for a double");
  return { kind: "double", value };
}

function decodeTagged(tag: string, tree: Json, at: string): Value {
  const text = (): string => {
    if (typeof tree !== "string") throw new InvalidValue(at, `${tag} needs a string`);
    return tree;
  };
  switch (tag) {
    case "$timestamp":
      return { kind: "timestamp", value: normalTimestamp(text(), at) };
    case "$bytes":
      return { kind: "bytes", value: checkBase64(text(), at) };
    case "$ref":
      return { kind: "reference", value: checkReference(text(), at) };
    case "$int":
      return typeof tree === "number" || tree instanceof NumberLiteral
        ? checkKind(decodeValue(tree, at), "integer", at)
        : { kind: "integer", value: decodeInteger(text(), at) };
    case "$double":
      return { kind: "double", value: decodeDouble(tree, at) };
    case "$geo":
      return decodeGeo(tree, at);
    case "$vector":
      if (!Array.isArray(tree) || tree.length === 0)
        throw new InvalidValue(at, "$vector needs an array of numbers");
      return { kind: "vector", values: tree.map((item) => decodeDouble(item, at)) };
    default:
      throw new InvalidValue(at, `the tag ${tag} is not known`);
  }
}

function checkKind(value: Value, kind: Kind, at: string): Value {
  if (value.kind !== kind) throw new InvalidValue(at, `must be of type ${kind}`);
  return value;
}

export function decodeInteger(text: string, at = ""): bigint {
  if (!/^-?(?:0|[1-9]\d{0,18})$/.test(text)) throw new InvalidValue(at, "must be a whole number");
  return checkInteger(BigInt(text), at);
}

function decodeDouble(tree: Json, at: string): number {
  if (typeof tree === "number") return tree;
  if (tree instanceof NumberLiteral) {
    const value = Number(tree.text);
    if (Number.isFinite(value)) return value;
  }
  if (tree === "NaN") return Number.NaN;
  if (tree === "-0") return -0;
  if (tree === "Infinity") return Number.POSITIVE_INFINITY;
  if (tree === "-Infinity") return Number.NEGATIVE_INFINITY;
  throw new InvalidValue(at, "must be a number, or one of NaN, Infinity, -Infinity, -0 in quotes");
}

function decodeGeo(tree: Json, at: string): Value {
  if (!Array.isArray(tree) || tree.length !== 2)
    throw new InvalidValue(at, "$geo needs [latitude, longitude]");
  const [latitude, longitude] = tree.map((item) => decodeDouble(item, at)) as [number, number];
  return makeGeo(latitude, longitude, at);
}

export function makeGeo(latitude: number, longitude: number, at = ""): Value {
  if (!(Math.abs(latitude) <= 90)) throw new InvalidValue(at, "latitude must be within -90 and 90");
  if (!(Math.abs(longitude) <= 180))
    throw new InvalidValue(at, "longitude must be within -180 and 180");
  return { kind: "geo", latitude, longitude };
}

export function checkBase64(text: string, at = ""): string {
  if (!BASE64.test(text)) throw new InvalidValue(at, "must be base64, padded with =");
  return text;
}

export function checkReference(text: string, at = ""): string {
  const path = text.replace(/^projects\/[^/]+\/databases\/[^/]+\/documents\//, "");
  const fault = faultOfDocumentPath(path);
  if (fault !== null) throw new InvalidValue(at, fault);
  return text;
}
