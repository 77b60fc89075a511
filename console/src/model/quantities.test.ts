import { expect, test } from "vitest";
import { quantityOf, quantityText, SIZES, SPANS } from "./quantities";

test.each([
  [604_800, "7 days"],
  [86_400, "1 day"],
  [90_000, "25 hours"],
  [300, "5 minutes"],
  [301, "301 seconds"],
])("a span of %s is %s, and back", (seconds, text) => {
  expect(quantityText(SPANS, seconds)).toBe(text);
  expect(quantityOf(SPANS, text)).toBe(seconds);
});

test.each([
  [1_073_741_824, "1 GiB"],
  [1024 * 1025, "1,025 KiB"],
  [4_000_000_001, "4,000,000,001 bytes"],
])("a size of %s is %s, and back", (bytes, text) => {
  expect(quantityText(SIZES, bytes)).toBe(text);
  expect(quantityOf(SIZES, text)).toBe(bytes);
});

test.each([
  [SPANS, " 1.5 d", 129_600],
  [SPANS, "2H", 7_200],
  [SIZES, "0.5 gib", 536_870_912],
  [SIZES, "7", null],
  [SIZES, "-1 GiB", null],
  [SIZES, "1 GiB or so", null],
  [SPANS, "1 GiB", null],
  [SPANS, "", null],
] as const)(
  "%# what people write is read, or it is told that it cannot be",
  (units, text, amount) => expect(quantityOf(units, text)).toBe(amount),
);
