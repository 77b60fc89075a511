import { expect, test } from "vitest";
import { visible } from "./text";

test("marks that turn text round are shown and turn nothing", () => {
  expect(visible("\u202egnp.exe")).toBe("\\u202egnp.exe");
  expect(visible("a\u2066b\u2069\ufeffc\u0000")).toBe("a\\u2066b\\u2069\\ufeffc\\u0000");
  expect(visible("two\nlines")).toBe("two↵lines");
});

test("languages and emoji are left as they are", () => {
  for (const text of ["مدينة", "שלום", "می\u200cخواهم", "👩\u200d👩\u200d👧", "naïve"])
    expect(visible(text)).toBe(text);
});
