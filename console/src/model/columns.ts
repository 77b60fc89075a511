/** Which fields of documents a table shows, and how wide. Pure. */

import { previewOfValue } from "./inputs";
import type { Fields, Kind } from "./values";

const COLUMNS_MAX = 12;
const SAMPLE = 200;
const TITLES = ["name", "title", "email", "label", "displayName"];
const WEIGHTS: Readonly<Partial<Record<Kind, number>>> = {
  array: 2,
  map: 2,
  vector: 3,
  bytes: 3,
  null: 3,
};

/** The fields that most documents have: titles first, what is long or opaque last, then by name. */
export function columnsOf(documents: readonly { fields: Fields }[]): string[] {
  const counts = new Map<string, number>();
  const weights = new Map<string, number>();
  const sample = documents.slice(0, SAMPLE);
  for (const document of sample)
    for (const [name, value] of document.fields) {
      counts.set(name, (counts.get(name) ?? 0) + 1);
      const weight = WEIGHTS[value.kind] ?? 1;
      weights.set(name, Math.min(weights.get(name) ?? weight, weight));
    }
  const weightOf = (name: string) => (TITLES.includes(name) ? 0 : (weights.get(name) ?? 1));
  return [...counts]
    .sort(([, countA], [, countB]) => countB - countA)
    .slice(0, COLUMNS_MAX)
    .map(([name]) => name)
    .sort((a, b) => weightOf(a) - weightOf(b) || (a < b ? -1 : 1));
}

const CHARACTER_PIXELS = 7.4;
const PADDING_PIXELS = 26;
const NARROWEST_PIXELS = 84;
const WIDEST_PIXELS = 260;

/** As wide as most of its values need: wide enough for a few may waste the room of all. */
export function widthOf(name: string, documents: readonly { fields: Fields }[]): number {
  const lengths = documents
    .slice(0, SAMPLE)
    .flatMap(({ fields }) => fields.get(name) ?? [])
    .map((value) => previewOfValue(value).length)
    .sort((a, b) => a - b);
  const most = Math.max(name.length, lengths[Math.floor(lengths.length * 0.9)] ?? 0);
  return boundedWidth(most);
}

export function boundedWidth(characters: number): number {
  const wanted = Math.ceil(characters * CHARACTER_PIXELS) + PADDING_PIXELS;
  return Math.min(WIDEST_PIXELS, Math.max(NARROWEST_PIXELS, wanted));
}
