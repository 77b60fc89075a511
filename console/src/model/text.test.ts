import { describe, expect, test } from "vitest";
import { hidesNothing, piecesOf, visible } from "./text";

describe("hidden characters", () => {
  test("that turn text round are shown and turn nothing", () => {
    expect(visible("\u202egnp.exe")).toBe("\\u202egnp.exe");
    expect(visible("a\u2066b\u2069\ufeffc\u0000")).toBe("a\\u2066b\\u2069\\ufeffc\\u0000");
    expect(visible("two\nlines")).toBe("two↵lines");
  });

  test.each([
    ["admin\u200b", "admin\\u200b"],
    ["ad\u200dmin", "ad\\u200dmin"],
    ["admin\u00a0", "admin\\u00a0"],
    ["admin\u3164", "admin\\u3164"],
    ["admin\u2800", "admin\\u2800"],
    ["admin\u{e0061}\u{e0100}", "admin\\u{e0061}\\u{e0100}"],
    ["ad\u034fmin\u115f", "ad\\u034fmin\\u115f"],
    ["half \ud800", "half \\ud800"],
    ["a\tb\r", "a\\u0009b\\u000d"],
    ["👩\u200d", "👩\\u200d"],
    ["а\u200bб", "а\\u200bб"],
    ["а\u200dб", "а\\u200dб"],
  ])("make no name look like another one: %j", (text, shown) => {
    expect(visible(text)).toBe(shown);
    expect(hidesNothing(visible(text))).toBe(true);
  });

  test("languages and emoji are left as they are", () => {
    for (const text of [
      "مدينة",
      "שלום",
      "می\u200cخواهم",
      "क्\u200dष",
      "👩\u200d👩\u200d👧",
      "👩🏽\u200d💻",
      "❤\ufe0f\u200d🔥",
      "naïve",
      "東京",
      "٤٢ \u0600",
    ])
      expect(visible(text)).toBe(text);
  });

  test("are told by their names, and lines stay where they are seen", () => {
    expect(piecesOf("a\u202eb\n", true)).toEqual([
      { text: "a", name: null },
      { text: "\\u202e", name: "U+202E, right-to-left override" },
      { text: "b\n", name: null },
    ]);
    expect(piecesOf("")).toEqual([]);
  });
});
