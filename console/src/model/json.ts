/**
 * JSON text that keeps what JavaScript's own parser loses: how a number was written, and where each
 * value stands. Objects have no prototype, so a key `__proto__` is a key like any other.
 */

export class NumberLiteral {
  constructor(readonly text: string) {}
}

export interface JsonObject {
  [key: string]: Json;
}
export type Json = null | boolean | number | string | NumberLiteral | Json[] | JsonObject;

export class JsonError extends Error {
  constructor(
    message: string,
    readonly offset: number,
  ) {
    super(message);
  }
}

export interface ParsedJson {
  tree: Json;
  /** Where the value at a place such as `a.b[3]` starts. */
  offsets: ReadonlyMap<string, number>;
}

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const STRING = /"(?:[^"\\\p{Cc}]|[\u007f-\u009f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/uy;
const SPACE = /[ \t\n\r]*/y;
const DEPTH_MAX = 200;

/** The place of a member or element, as the server writes it in its errors. */
export function placeOf(at: string, key: string | number): string {
  if (typeof key === "number") return `${at}[${key}]`;
  return at === "" ? key : `${at}.${key}`;
}

/** Throws JsonError with the offset of the first fault. */
export function parseJson(text: string): ParsedJson {
  const offsets = new Map<string, number>();
  let position = 0;

  function space(): void {
    SPACE.lastIndex = position;
    SPACE.test(text);
    position = SPACE.lastIndex;
  }
  function fail(message: string): never {
    throw new JsonError(message, Math.min(position, text.length));
  }
  function take(pattern: RegExp, what: string): string {
    pattern.lastIndex = position;
    const found = pattern.exec(text);
    if (found === null) fail(what);
    position = pattern.lastIndex;
    return found[0];
  }
  function readString(): string {
    return JSON.parse(take(STRING, "this string is not closed, or holds a bad escape")) as string;
  }
  function readObject(at: string, depth: number): JsonObject {
    const members = Object.create(null) as JsonObject;
    position += 1;
    space();
    if (text[position] === "}") {
      position += 1;
      return members;
    }
    for (;;) {
      space();
      if (text[position] !== '"') fail("a name in double quotes is expected here");
      const start = position;
      const key = readString();
      if (key in members) {
        position = start;
        fail(`the name "${key}" occurs twice`);
      }
      space();
      if (text[position] !== ":") fail("a colon is expected here");
      position += 1;
      members[key] = readValue(placeOf(at, key), depth + 1);
      space();
      if (text[position] === ",") position += 1;
      else if (text[position] === "}") break;
      else fail("a comma or } is expected here");
    }
    position += 1;
    return members;
  }
  function readArray(at: string, depth: number): Json[] {
    const items: Json[] = [];
    position += 1;
    space();
    if (text[position] === "]") {
      position += 1;
      return items;
    }
    for (;;) {
      items.push(readValue(placeOf(at, items.length), depth + 1));
      space();
      if (text[position] === ",") position += 1;
      else if (text[position] === "]") break;
      else fail("a comma or ] is expected here");
    }
    position += 1;
    return items;
  }
  function readWord(): Json {
    for (const [word, value] of [
      ["null", null],
      ["true", true],
      ["false", false],
    ] as const) {
      if (text.startsWith(word, position)) {
        position += word.length;
        return value;
      }
    }
    return fail(position >= text.length ? "the text ends too early" : "a value is expected here");
  }
  function readValue(at: string, depth: number): Json {
    if (depth > DEPTH_MAX) fail("nested too deep");
    space();
    offsets.set(at, position);
    const first = text[position] ?? "";
    if (first === "{") return readObject(at, depth);
    if (first === "[") return readArray(at, depth);
    if (first === '"') return readString();
    if (first === "-" || (first >= "0" && first <= "9"))
      return new NumberLiteral(take(NUMBER, "this is not a number"));
    return readWord();
  }

  const tree = readValue("", 0);
  space();
  if (position < text.length) fail("nothing more is expected here");
  return { tree, offsets };
}

/** JSON text; number literals as they were read. */
export function writeJson(tree: Json, indent: number | "line" = 0): string {
  const spaced = indent !== 0;
  function write(value: Json, level: number): string {
    if (value instanceof NumberLiteral) return value.text;
    if (value === null || typeof value !== "object") return JSON.stringify(value);
    const items = Array.isArray(value)
      ? value.map((item) => write(item, level + 1))
      : Object.keys(value).map(
          (key) =>
            `${JSON.stringify(key)}:${spaced ? " " : ""}${write(value[key] as Json, level + 1)}`,
        );
    const [open, close] = Array.isArray(value) ? "[]" : "{}";
    if (items.length === 0) return `${open}${close}`;
    // Tagged values and short lists of plain values read better on one line.
    const flat = `${open}${items.join(spaced ? ", " : ",")}${close}`;
    if (indent === 0 || indent === "line") return flat;
    if (!flat.includes("\n") && isSmall(value) && flat.length <= 72) return flat;
    const pad = " ".repeat(indent * (level + 1));
    return `${open}\n${items.map((item) => pad + item).join(",\n")}\n${" ".repeat(indent * level)}${close}`;
  }
  return write(tree, 0);
}

function isSmall(value: Json[] | JsonObject): boolean {
  if (Array.isArray(value))
    return value.every((item) => item === null || typeof item !== "object" || !Array.isArray(item));
  const keys = Object.keys(value);
  return keys.length === 1 && /^\$[a-z]/.test(keys[0] ?? "");
}
