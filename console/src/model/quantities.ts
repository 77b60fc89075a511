/** Spans of time and sizes as people write them, such as `7 days` and `1 GiB`. Pure. */

interface Unit {
  /** What one is called, and several. */
  names: readonly [string, string];
  /** How it may be written else. */
  also: readonly string[];
  size: number;
}

/** The smallest first. */
export const SPANS: readonly Unit[] = [
  { names: ["second", "seconds"], also: ["s"], size: 1 },
  { names: ["minute", "minutes"], also: ["min", "m"], size: 60 },
  { names: ["hour", "hours"], also: ["h"], size: 3_600 },
  { names: ["day", "days"], also: ["d"], size: 86_400 },
];

export const SIZES: readonly Unit[] = [
  { names: ["byte", "bytes"], also: ["b"], size: 1 },
  { names: ["KiB", "KiB"], also: ["k"], size: 1024 },
  { names: ["MiB", "MiB"], also: ["m"], size: 1024 ** 2 },
  { names: ["GiB", "GiB"], also: ["g"], size: 1024 ** 3 },
  { names: ["TiB", "TiB"], also: ["t"], size: 1024 ** 4 },
];

/** In the largest unit of which it is a whole number. */
export function quantityText(units: readonly Unit[], amount: number): string {
  const unit = units.findLast(({ size }) => amount % size === 0) ?? units[0];
  if (unit === undefined) return String(amount);
  const count = amount / unit.size;
  return `${count.toLocaleString("en")} ${unit.names[count === 1 ? 0 : 1]}`;
}

/** A way along the ground: metres, and from 10 km on kilometres. */
export function distanceText(meters: number): string {
  if (meters < 10_000) return `${Math.round(meters).toLocaleString("en")} m`;
  const digits = { maximumFractionDigits: meters < 1_000_000 ? 1 : 0 };
  return `${(meters / 1_000).toLocaleString("en", digits)} km`;
}

/** A whole number of the smallest unit; null: the text is none. */
export function quantityOf(units: readonly Unit[], text: string): number | null {
  const found = /^([0-9]{1,15}(?:,[0-9]{3})*(?:\.[0-9]{1,6})?) *([a-z]+)$/i.exec(text.trim());
  if (found === null) return null;
  const name = found[2]?.toLowerCase() ?? "";
  const unit = units.find(
    ({ names, also }) => names.some((one) => one.toLowerCase() === name) || also.includes(name),
  );
  if (unit === undefined) return null;
  return Math.round(Number(found[1]?.replaceAll(",", "")) * unit.size);
}
