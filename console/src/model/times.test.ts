import { expect, test } from "vitest";
import { agoText } from "./times";

const NOW = Date.parse("2026-11-28T12:00:00Z");

test.each([
  ["2026-11-28T12:00:30Z", "just now"],
  ["2026-11-28T11:59:01Z", "just now"],
  ["2026-11-28T11:59:00Z", "1 min ago"],
  ["2026-11-28T11:00:01Z", "59 min ago"],
  ["2026-11-28T11:00:00Z", "1 h ago"],
  ["2026-11-27T12:00:00Z", "1 day ago"],
  ["2026-11-21T12:00:01Z", "6 days ago"],
  ["2026-11-21T12:00:00Z", "2026-11-21"],
  ["2027-11-21T12:00:00Z", "2027-11-21"],
  ["never", "never"],
])("%s was %s", (time, told) => expect(agoText(time, NOW)).toBe(told));
