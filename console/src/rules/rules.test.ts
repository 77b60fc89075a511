import { StringStream } from "@codemirror/language";
import { describe, expect, test } from "vitest";
import { parser } from "./language";
import { spanOf } from "./positions";

function tokens(source: string): string[] {
  const state = parser.startState?.(2) as Parameters<typeof parser.token>[1];
  const found: string[] = [];
  for (const line of source.split("\n")) {
    const stream = new StringStream(line, 2, 2);
    while (!stream.eol()) {
      const kind = parser.token(stream, state);
      if (kind !== null) found.push(`${kind} ${stream.current()}`);
      if (stream.start === stream.pos) throw new Error(`no progress in ${line}`);
      stream.start = stream.pos;
    }
  }
  return found;
}

describe("the rules language", () => {
  test("tells paths, wildcards and methods apart", () => {
    expect(tokens("match /users/{uid}/x/{rest=**} {")).toEqual([
      "keyword match",
      "path /users/",
      "wildcard {uid}",
      "path /x/",
      "wildcard {rest=**}",
      "operator {",
    ]);
    expect(tokens("allow read, create: if request.auth != null;")).toEqual([
      "keyword allow",
      "method read",
      "operator ,",
      "method create",
      "punctuation :",
      "keyword if",
      "global request",
      "operator .",
      "member auth",
      "operator !",
      "operator =",
      "atom null",
      "punctuation ;",
    ]);
  });

  test("knows both services, and what one asks of the other", () => {
    expect(tokens("service firebase.storage { match /b/{bucket}/o {")).toEqual([
      "keyword service",
      "service firebase.storage",
      "operator {",
      "keyword match",
      "path /b/",
      "wildcard {bucket}",
      "path /o",
      "operator {",
    ]);
    expect(tokens("service cloud.firestore {")[1]).toBe("service cloud.firestore");
    expect(tokens("service other.thing")[1]).toBe("name other");
    expect(tokens("firestore.get(/databases/(default)/documents/a/b).data.n > 1")[0]).toBe(
      "global firestore",
    );
    expect(tokens("resource.firestore")[2]).toBe("member firestore");
  });

  test("knows strings, comments over lines, types and calls", () => {
    expect(tokens("/* a\n b */ x is string && f('it''s') // end")).toEqual([
      "comment /*",
      "comment  a",
      "comment  b */",
      "name x",
      "keyword is",
      "type string",
      "operator &",
      "operator &",
      "call f",
      "operator (",
      "string 'it'",
      "string 's'",
      "operator )",
      "comment // end",
    ]);
  });

  test("gets through any text", () => {
    expect(() => tokens("match match {{{ \" ' /* ☃ \u0000 \\ allow : { } @#$%^")).not.toThrow();
  });
});

describe("places", () => {
  test("count characters, not UTF-16 units", () => {
    const text = "a\n'😀' x";
    expect(spanOf(text, 2, 5, 6)).toEqual({ from: 7, to: 8 });
    expect(spanOf(text, 1, 1, 1)).toEqual({ from: 0, to: 1 });
    expect(spanOf(text, 99, 99, 99)).toEqual({ from: 8, to: 8 });
    expect(spanOf("", 1, 1, 5)).toEqual({ from: 0, to: 0 });
  });
});
