import { describe, expect, test } from "vitest";
import type { Reached, Step } from "../api/trials";
import {
  coverageLines,
  flatten,
  type Paint,
  paintCoverage,
  spanOfText,
  tellingSteps,
} from "./paint";

const SOURCE = "allow read: if a &&\n    'é😀' == b.c;\n";

function reached(text: string, line: number, column: number, more: Partial<Reached>): Reached {
  const none = { true: 0, false: 0, error: 0, other: 0, gap: null };
  return { text, line, column, ...none, ...more };
}

function told(paints: readonly Paint[]): string[] {
  return paints.map(({ from, to, tone }) => `${tone} ${SOURCE.slice(from, to)}`);
}

describe("what is painted", () => {
  test("a text of several lines is found whole", () => {
    const { from, to } = spanOfText(SOURCE, 1, 16, "a && 'é😀' == b.c");
    expect(SOURCE.slice(from, to)).toBe("a &&\n    'é😀' == b.c");
    const after = spanOfText(SOURCE, 2, 13, "b.c");
    expect(SOURCE.slice(after.from, after.to)).toBe("b.c");
  });

  test("a text that is not there ends with its line", () => {
    const cut = spanOfText(SOURCE, 1, 16, "a && 'é…");
    expect(SOURCE.slice(cut.from, cut.to)).toBe("a &&");
    expect(spanOfText("", 3, 9, "x")).toEqual({ from: 0, to: 0 });
  });

  test("the innermost stretch is what is seen", () => {
    const paint = (from: number, to: number, tone: Paint["tone"]) => ({
      from,
      to,
      tone,
      title: "",
    });
    expect(
      flatten([paint(2, 4, "bad"), paint(0, 9, "good"), paint(3, 4, "part")], 9).map((one) => [
        one.from,
        one.to,
        one.tone,
      ]),
    ).toEqual([
      [0, 2, "good"],
      [2, 3, "bad"],
      [3, 4, "part"],
      [4, 9, "good"],
    ]);
  });

  test("coverage tells what is missing, without indents", () => {
    const paints = paintCoverage(SOURCE, [
      reached("a && 'é😀' == b.c", 1, 16, { true: 1, gap: "never false" }),
      reached("'é😀' == b.c", 2, 5, { gap: "never evaluated" }),
      reached("b.c", 2, 13, { other: 1 }),
    ]);
    expect(told(paints)).toEqual(["part a &&", "bad 'é😀' == b.c"]);
    expect(paints[0]?.title).toBe("never false (true 1×)");
    const both = [reached("a", 1, 16, { true: 1, false: 2 })];
    expect(told(paintCoverage(SOURCE, both))).toEqual(["good a"]);
  });

  test("lines tell whether their statements granted", () => {
    const lines = coverageLines([
      reached("allow read", 1, 1, { true: 1 }),
      reached("allow get", 2, 1, {}),
      reached("allow list", 3, 1, { false: 1 }),
      reached("allow write", 3, 9, { true: 1 }),
    ]);
    expect([...lines]).toEqual([
      [1, "good"],
      [2, "bad"],
      [3, "part"],
    ]);
  });

  test("steps that only lead to the next are left out", () => {
    const step = (depth: number, text: string, error: string | null = null): Step => {
      return { depth, text, line: 1, column: 1, endColumn: 2, value: "1", error };
    };
    const steps = [
      step(0, "request.auth.uid == 'a'"),
      step(1, "request.auth.uid"),
      step(2, "request.auth"),
      step(1, "request.auth.token", "null has no member"),
      step(2, "request.auth"),
    ];
    expect(tellingSteps(steps).map((one) => `${one.depth} ${one.text}`)).toEqual([
      "0 request.auth.uid == 'a'",
      "1 request.auth.uid",
      "1 request.auth.token",
      "2 request.auth",
    ]);
  });
});
