/** Claims of a user as text. Pure. */

import { JsonError, type JsonObject, NumberLiteral, parseJson } from "./json";

/** Empty: none. Throws Error that says what is wrong, and where. */
export function parseClaims(text: string): JsonObject {
  if (text.trim() === "") return {};
  const tree: unknown = readJson(text);
  const isObject = tree !== null && typeof tree === "object" && !Array.isArray(tree);
  if (!isObject || tree instanceof NumberLiteral)
    throw new Error('claims are an object, such as {"admin": true}');
  return tree as JsonObject;
}

function readJson(text: string): unknown {
  try {
    return parseJson(text).tree;
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new Error(`line ${text.slice(0, error.offset).split("\n").length}: ${error.message}`, {
      cause: error,
    });
  }
}
