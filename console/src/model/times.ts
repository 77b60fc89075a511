/** Times as they are told. Pure. */

import { shortTime } from "./inputs";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const DAYS_MAX = 7;

/** How long ago a time of the last days is; else its day. Clocks differ: a near future is now. */
export function agoText(time: string, now: number): string {
  const past = now - new Date(time).getTime();
  if (Number.isNaN(past) || past < -MINUTE_MS || past >= DAYS_MAX * DAY_MS)
    return shortTime(time).slice(0, 10);
  if (past < MINUTE_MS) return "just now";
  if (past < HOUR_MS) return `${Math.floor(past / MINUTE_MS)} min ago`;
  if (past < DAY_MS) return `${Math.floor(past / HOUR_MS)} h ago`;
  const days = Math.floor(past / DAY_MS);
  return days === 1 ? "1 day ago" : `${days} days ago`;
}
