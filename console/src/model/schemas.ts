/** Schemas as texts that a person edits, one for each collection. */

import { type Json, JsonError, parseJson, writeJson } from "./json";

export interface SchemaText {
  /** Its identity while the page is open. */
  key: number;
  text: string;
}

export interface SchemaFault {
  /** Where in the text. */
  offset: number;
  message: string;
}

export const NEW_SCHEMA = `{
  "x-collection": "users",
  "type": "object",
  "required": ["email"],
  "properties": {
    "email": {"type": "string"}
  }
}
`;

let keys = 0;

export function schemaText(text: string): SchemaText {
  keys += 1;
  return { key: keys, text };
}

export function textsOf(schemas: readonly Json[]): SchemaText[] {
  return schemas.map((schema) => schemaText(`${writeJson(schema, 2)}\n`));
}

/** null: nothing is wrong that can be seen without the server. */
export function faultOfSchema(text: string): SchemaFault | null {
  try {
    const { tree } = parseJson(text);
    if (tree === null || typeof tree !== "object" || Array.isArray(tree))
      return { offset: 0, message: "must be a JSON object" };
    if (typeof (tree as Record<string, unknown>)["x-collection"] !== "string")
      return { offset: 0, message: "`x-collection` must say for which documents it is" };
    return null;
  } catch (error) {
    if (error instanceof JsonError) return { offset: error.offset, message: error.message };
    throw error;
  }
}

/** The collection that a text is for, as far as it can be read. */
export function collectionOfSchema(text: string): string {
  const found = /"x-collection"\s*:\s*("(?:[^"\\]|\\.)*")/.exec(text);
  try {
    return found === null ? "" : String(JSON.parse(found[1] as string));
  } catch {
    return "";
  }
}

/** Throws JsonError. Numbers stay as they were written. */
export function readSchemas(texts: readonly SchemaText[]): Json[] {
  return texts.map(({ text }) => parseJson(text).tree);
}

export function isSameSchemas(a: readonly SchemaText[], b: readonly SchemaText[]): boolean {
  return a.length === b.length && a.every(({ text }, at) => text === b[at]?.text);
}
