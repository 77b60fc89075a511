import { describe, expect, test } from "vitest";
import { EMPTY_VIEW } from "./queries";
import { decodeFields } from "./values";
import {
  carve,
  findLive,
  findMissing,
  type Item,
  refill,
  release,
  rowAt,
  rowCount,
  rowOf,
  SEGMENT,
  SEGMENT_MAX,
  type Seen,
  segmentQuery,
  startWindows,
  type Windows,
  withTotal,
} from "./windows";

const VIEW = { ...EMPTY_VIEW, orderBy: [{ field: "n", direction: "asc" as const }] };
const TOP: Seen = { from: 0, to: 30 };

function item(n: number): Item {
  return { path: `c/d${n}`, fields: decodeFields({ n }) };
}

/** A server that holds the documents of these numbers, in order. */
class Server {
  constructor(public numbers: number[]) {}

  static of(count: number): Server {
    return new Server(Array.from({ length: count }, (_, n) => n));
  }

  read(query: ReturnType<typeof segmentQuery>, offset = 0): Item[] {
    const cut = (name: "start" | "end") =>
      query[name] as { values: number[]; before: boolean } | undefined;
    const [start, end] = [cut("start"), cut("end")];
    const isBehind = (n: number, at: { values: number[]; before: boolean }) =>
      n > (at.values[0] as number) || (at.before && n === at.values[0]);
    return this.numbers
      .filter((n) => start === undefined || isBehind(n, start))
      .filter((n) => end === undefined || !isBehind(n, end))
      .slice(offset, offset + Number(query.limit))
      .map(item);
  }

  /** Reads and listens until nothing is missing for what is seen. */
  settle(windows: Windows<Item>, seen: Seen): Windows<Item> {
    let now = windows;
    for (let round = 0; round < 20; round += 1) {
      const missing = findMissing(now, seen);
      if (missing === null) break;
      const segment = now.segments.find((one) => one.id === missing.id);
      if (segment === undefined) throw new Error("no such segment");
      const documents = this.read(segmentQuery("c", VIEW, segment, SEGMENT), missing.offset);
      now = carve(now, missing, documents, documents.length < SEGMENT);
      now = withTotal(now, this.numbers.length);
    }
    if (findMissing(now, seen) !== null) throw new Error("it does not come to an end");
    for (const { id } of findLive(now, seen)) {
      const segment = now.segments.find((one) => one.id === id);
      if (segment !== undefined)
        now = refill(now, id, this.read(segmentQuery("c", VIEW, segment, SEGMENT_MAX + 1)));
    }
    return now;
  }
}

function numbersSeen(windows: Windows<Item>, { from, to }: Seen): (number | null | undefined)[] {
  return Array.from({ length: to - from }, (_, at) => {
    const found = rowAt(windows, from + at);
    return found == null ? found : Number(found.path.slice(3));
  });
}

const span = (from: number, to: number) => Array.from({ length: to - from }, (_, at) => from + at);

describe("windows on a long list", () => {
  test("a short list is one segment without an end", () => {
    const windows = Server.of(7).settle(startWindows<Item>(VIEW), TOP);
    expect(windows.segments.map(({ start, end, count }) => [start, end, count])).toEqual([
      [null, null, 7],
    ]);
    expect(rowAt(windows, 7)).toBeUndefined();
  });

  test("the start is read, and the rest has the room of its estimate", () => {
    const server = Server.of(100_000);
    const windows = server.settle(startWindows<Item>(VIEW), TOP);
    expect(numbersSeen(windows, TOP)).toEqual(span(0, 30));
    expect(rowCount(windows)).toBe(100_000);
    expect(rowAt(windows, 50_000)).toBeNull();
    expect(findLive(windows, TOP)).toHaveLength(1);
  });

  test("scrolling on reads one segment after the other, with no row twice or left out", () => {
    const server = Server.of(1_000);
    let windows = startWindows<Item>(VIEW);
    for (let from = 0; from < 1_000; from += 25) {
      const seen = { from, to: Math.min(from + 30, 1_000) };
      windows = server.settle(windows, seen);
      expect(numbersSeen(windows, seen)).toEqual(span(seen.from, seen.to));
    }
    expect(rowCount(windows)).toBe(1_000);
  });

  test("a jump reads only where it lands, and the gap is filled from there", () => {
    const server = Server.of(100_000);
    const far = { from: 60_000, to: 60_030 };
    let windows = server.settle(startWindows<Item>(VIEW), TOP);
    windows = server.settle(windows, far);
    expect(numbersSeen(windows, far)).toEqual(span(60_000, 60_030));
    expect(windows.segments.length).toBeLessThan(6);
    const before = { from: 59_850, to: 59_880 };
    windows = server.settle(windows, before);
    expect(numbersSeen(windows, before)).toEqual(span(59_850, 59_880));
    expect(numbersSeen(windows, { from: 59_990, to: 60_010 })).toEqual(span(59_990, 60_010));
    windows = server.settle(windows, { from: 99_980, to: 100_000 });
    expect(numbersSeen(windows, { from: 99_990, to: 100_000 })).toEqual(span(99_990, 100_000));
    expect(rowCount(windows)).toBe(100_000);
  });

  test("a jump behind the end finds the end", () => {
    const server = Server.of(300);
    let windows = server.settle(startWindows<Item>(VIEW), TOP);
    windows = withTotal(windows, 5_000);
    windows = server.settle(windows, { from: 4_900, to: 4_930 });
    expect(rowCount(windows)).toBeLessThanOrEqual(5_000);
    windows = server.settle(windows, { from: 270, to: 300 });
    expect(numbersSeen(windows, { from: 270, to: 300 })).toEqual(span(270, 300));
    expect(rowCount(windows)).toBe(300);
  });

  test("what is inserted belongs to one segment; one that grows too large is divided", () => {
    const server = new Server(Array.from({ length: 600 }, (_, n) => n * 1_000));
    let windows = server.settle(startWindows<Item>(VIEW), TOP);
    windows = server.settle(windows, { from: 200, to: 230 });
    const anchor = "c/d210000";
    expect(rowOf(windows, anchor)).toBe(210);
    server.numbers = [...server.numbers, ...span(1, 301)].sort((a, b) => a - b);
    for (const seen of [TOP, { from: 200, to: 230 }, { from: 500, to: 530 }])
      windows = server.settle(windows, seen);
    expect(rowOf(windows, anchor)).toBe(510);
    for (const { documents } of windows.segments)
      expect(documents?.length ?? 0).toBeLessThanOrEqual(SEGMENT_MAX);
    server.numbers = [...server.numbers, ...span(301, 401)].sort((a, b) => a - b);
    windows = server.settle(windows, { from: 0, to: 30 });
    windows = server.settle(windows, { from: 100, to: 400 });
    expect(numbersSeen(windows, { from: 1, to: 401 })).toEqual(span(1, 401));
  });

  test("what is far away is let go, and comes back as it is then", () => {
    const server = Server.of(10_000);
    let windows = server.settle(startWindows<Item>(VIEW), TOP);
    const far = { from: 9_000, to: 9_030 };
    windows = release(server.settle(windows, far), far);
    expect(rowAt(windows, 0)).toBeNull();
    expect(rowAt(windows, 9_010)).not.toBeNull();
    server.numbers = server.numbers.filter((n) => n !== 5);
    windows = server.settle(windows, TOP);
    expect(numbersSeen(windows, TOP)).toEqual([...span(0, 5), ...span(6, 31)]);
  });
});
