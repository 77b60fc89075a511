import { describe, expect, test } from "vitest";
import { type Asked, askedDocuments, readAsked, writeAsked } from "./asked";
import {
  cursorAt,
  decodeDraft,
  EMPTY_CURSOR,
  EMPTY_FILTER,
  EMPTY_QUERY,
  encodeDraft,
  type QueryDraft,
  splitFields,
  withOperator,
} from "./builder";
import { fieldNames } from "./paths";
import { cutValues, decodeView, encodeQuery, encodeView } from "./queries";
import { curlOf, pythonOf } from "./querycode";
import { parseHash, queryHash } from "./routes";
import { decodeFields, decodeList } from "./values";

const PLACE = { url: "https://b.example", project: "demo", database: "(default)" };
const ASKED: Asked = {
  query: {
    collection: "users/ada/orders",
    where: {
      and: [
        { field: "a.`b c`", op: "==", value: { $int: "9007199254740993" } },
        {
          or: [
            {
              field: "x",
              op: "in",
              value: [1, { $double: 1 }, { $timestamp: "2026-11-22T17:00:00.000000Z" }],
            },
            { field: "y", op: ">", value: { $geo: [48.2, 16.4] } },
            { field: "z", op: "==", value: null },
          ],
        },
      ],
    },
    order_by: [{ field: "n", direction: "desc" }],
    limit: 10,
    select: ["n", "`a,b`"],
  },
  aggregates: [],
  groupBy: [],
};

describe("the query builder", () => {
  test("an array may be one of the values of in and not-in, but no element of an array", () => {
    const asked = (op: string): Asked => ({
      query: {
        collection: "c",
        where: { field: "tags", op, value: [["river"], [], { a: [1] }, "x"] },
      },
      aggregates: [],
      groupBy: [],
    });
    for (const op of ["in", "not-in"]) {
      expect(encodeDraft(decodeDraft(asked(op)))).toEqual(asked(op));
      expect(readAsked(writeAsked(asked(op)))).toEqual(asked(op));
      expect(pythonOf(asked(op), PLACE)).toContain(`"${op}", [["river"], [], {"a": [1]}, "x"])`);
    }
    const draft = decodeDraft(asked("in"));
    const [filter] = draft.where.items;
    expect(filter).toMatchObject({ text: '[["river"], [], {"a": [1]}, "x"]' }); // of one line
    const other = { ...filter, op: "array-contains-any" } as typeof EMPTY_FILTER;
    const wrong = { ...draft, where: { ...draft.where, items: [other] } };
    expect(() => encodeDraft(wrong)).toThrow("an array cannot hold an array directly");
    const view = {
      where: [{ field: "tags", op: "in" as const, value: decodeList([["a", 1], 2]) }],
      orderBy: [],
      group: false,
    };
    const parameters = new URLSearchParams();
    encodeView(view, parameters);
    expect(decodeView(parameters)).toEqual(view);
  });

  test("a query comes back from its draft, and from its address", () => {
    expect(encodeDraft(decodeDraft(ASKED))).toEqual(ASKED);
    expect(readAsked(writeAsked(ASKED))).toEqual(ASKED);
    const route = parseHash(queryHash("demo", "other", ASKED));
    expect(route).toEqual({ page: "query", project: "demo", database: "other", asked: ASKED });
    const searched: Asked = {
      query: {
        collection: "c",
        where: { field: "a", op: "==", value: 1 },
        search: { text: 'red "app*"', fields: ["title", "`a,b`.c"] },
      },
      aggregates: [],
      groupBy: [],
    };
    expect(encodeDraft(decodeDraft(searched))).toEqual(searched);
    expect(readAsked(writeAsked(searched))).toEqual(searched);
    expect(pythonOf(searched, PLACE)).toContain(
      '.search("red \\"app*\\"", fields=["title", "`a,b`.c"])',
    );
    const numbers: Asked = {
      query: { collection: "c", group: true },
      aggregates: [{ op: "count" }, { op: "average", field: "a" }],
      groupBy: [],
    };
    expect(encodeDraft(decodeDraft(numbers))).toEqual(numbers);
    expect(readAsked(writeAsked(numbers))).toEqual(numbers);
    const groups: Asked = {
      query: { collection: "c" },
      aggregates: [{ op: "minimum", field: "a" }],
      groupBy: ["country", "`a,b`.c"],
    };
    expect(encodeDraft(decodeDraft(groups))).toEqual(groups);
    expect(readAsked(writeAsked(groups))).toEqual(groups);
    const distinct = { ...groups, aggregates: [] };
    expect(encodeDraft(decodeDraft(distinct))).toEqual(distinct);
  });

  test("what is around a place has no other order, and is taken along", () => {
    const around: Asked = {
      query: {
        collection: "c",
        near: { field: "a.at", center: { $geo: [48.25, -16.5] }, radius_meters: 2500.5 },
      },
      aggregates: [],
      groupBy: [],
    };
    expect(encodeDraft(decodeDraft(around))).toEqual(around);
    expect(readAsked(writeAsked(around))).toEqual(around);
    const python = pythonOf(around, PLACE);
    expect(python).toContain('.near("a.at", GeoPoint(48.25, -16.5), radius_meters=2500.5)');
    expect(python).toContain("import Client, GeoPoint");
    const near = { field: "at", center: "48.25 16.5", radius: "" };
    const draft = { ...EMPTY_QUERY, collection: "c", near };
    const encoded = { field: "at", center: { $geo: [48.25, 16.5] } };
    expect(encodeDraft(draft).query.near).toEqual(encoded);
    for (const [radius, meters] of [
      ["500", 500],
      ["2.5km", 2500],
      ["7 m", 7],
    ] as const)
      expect(encodeDraft({ ...draft, near: { ...near, radius } }).query.near).toEqual({
        ...encoded,
        radius_meters: meters,
      });
    for (const [change, words] of [
      [{ near: { ...near, field: " " } }, "Name the field"],
      [{ near: { ...near, center: "91, 0" } }, "The value for the center"],
      [{ near: { ...near, center: "Wien" } }, "The value for the center"],
      [{ near: { ...near, radius: "5 miles" } }, "in metres"],
      [{ near: { ...near, radius: "-5" } }, "in metres"],
      [{ orders: [{ field: "n", direction: "asc" }] }, "an order of its own"],
      [{ search: "red", searchFields: "t" }, "an order each"],
    ] as const)
      expect(() => encodeDraft({ ...draft, ...change })).toThrow(words);
    for (const bad of [5, {}, { field: "a" }, { field: "a", center: { $geo: [1] } }])
      expect(
        decodeDraft({ query: { collection: "c", near: bad }, aggregates: [], groupBy: [] }).near,
      ).toEqual(EMPTY_QUERY.near);
  });

  test("a search names its fields, and has no other order", () => {
    const draft = { ...EMPTY_QUERY, collection: "c", search: " red " };
    expect(() => encodeDraft(draft)).toThrow("Name the fields to search");
    const named = { ...draft, searchFields: "title" };
    expect(encodeDraft(named).query.search).toEqual({ text: "red", fields: ["title"] });
    expect(() => encodeDraft({ ...named, orders: [{ field: "n", direction: "asc" }] })).toThrow(
      "an order of its own",
    );
  });

  test.each(["", "null", "[]", "{", '{"query": 1}', '{"query": []}'])(
    "an address that holds no query asks nothing: %s",
    (text) => expect(readAsked(text)).toBeNull(),
  );

  test("parts of an address that make no sense are left out", () => {
    const draft = decodeDraft({
      query: {
        collection: 1,
        where: { and: [{ field: 1 }, { field: "a", op: "~", value: 1 }, { or: [7] }, 3] },
        order_by: "x",
        limit: "9",
      },
      aggregates: [{ op: "median" }],
      groupBy: [],
    });
    expect(draft).toEqual({
      ...EMPTY_QUERY,
      shows: "numbers",
      where: { kind: "and", items: [{ kind: "or", items: [] }] },
    });
  });

  test.each([
    [{ ...EMPTY_QUERY }, "Name a collection"],
    [{ ...EMPTY_QUERY, collection: "c", limit: "0" }, "The limit must be"],
    [
      { ...EMPTY_QUERY, collection: "c", orders: [{ field: " ", direction: "asc" as const }] },
      "each order",
    ],
    [
      {
        ...EMPTY_QUERY,
        collection: "c",
        shows: "numbers" as const,
        aggregates: [{ op: "sum" as const, field: "" }],
      },
      "each sum",
    ],
    [{ ...EMPTY_QUERY, collection: "c", shows: "numbers" as const }, "Add a number"],
    [{ ...EMPTY_QUERY, collection: "c", shows: "groups" as const, groupBy: " ," }, "to group by"],
    [
      { ...EMPTY_QUERY, collection: "c", shows: "groups" as const, groupBy: "a,b,c,d,e,f" },
      "5 fields at most",
    ],
    [
      {
        ...EMPTY_QUERY,
        collection: "c",
        where: {
          kind: "and" as const,
          items: [{ ...EMPTY_FILTER, field: "n", type: "integer" as const, text: "3.5" }],
        },
      },
      "The value for n must be a whole number, such as 42",
    ],
  ])("what is missing is told %#", (draft, message) => {
    expect(() => encodeDraft(draft)).toThrow(message);
  });

  test("groups of one or none leave no trace", () => {
    const filter = { ...EMPTY_FILTER, field: "a", text: "x" };
    const where = {
      kind: "and" as const,
      items: [
        { kind: "or" as const, items: [filter] },
        { kind: "or" as const, items: [] },
      ],
    };
    expect(encodeDraft({ ...EMPTY_QUERY, collection: "/c/", where }).query).toEqual({
      collection: "c",
      where: { field: "a", op: "==", value: "x" },
    });
  });

  test("an operator brings a value that fits it", () => {
    const filter = { ...EMPTY_FILTER, text: "x" };
    expect(withOperator(filter, "in")).toMatchObject({ type: "array", text: "[]" });
    expect(withOperator({ ...filter, type: "array", text: "[1]" }, "in")).toMatchObject({
      text: "[1]",
    });
    expect(withOperator({ ...filter, op: "in", type: "array" }, "==")).toMatchObject({
      type: "string",
    });
    expect(withOperator(filter, "!=")).toMatchObject({ text: "x" });
  });

  test("field paths keep what stands in backticks", () => {
    expect(splitFields(" a, `b,c`.d ,,e ")).toEqual(["a", "`b,c`.d", "e"]);
    expect(fieldNames("a.`b.c\\`d`.e")).toEqual(["a", "b.c`d", "e"]);
  });
});

describe("a query as code", () => {
  test("Python says the types", () => {
    const text = pythonOf(ASKED, PLACE);
    expect(text).toContain("from baas_sdk import And, Client, FieldFilter, GeoPoint, Or, Query");
    expect(text).toContain('FieldFilter("a.`b c`", "==", 9007199254740993)');
    expect(text).toContain(
      'FieldFilter("x", "in", [1, 1.0, datetime.fromisoformat("2026-11-22T17:00:00.000000+00:00")])',
    );
    expect(text).toContain('.order_by("n", Query.DESCENDING)');
    expect(text).toContain('.select(["n", "`a,b`"])');
  });

  test("numbers and groups are asked as the SDK names them", () => {
    const query = { collection: "c" };
    const aggregates = [{ op: "count" }, { op: "maximum", field: "a.b" }];
    const numbers = pythonOf({ query, aggregates, groupBy: [] }, PLACE);
    expect(numbers).toMatch(/\.count\(\)\s+\.maximum\("a\.b"\)/);
    const groups = pythonOf({ query, aggregates, groupBy: ["x"] }, PLACE);
    expect(groups).toMatch(/\.group_by\("x"\)\s+\.count\(\)\s+\.maximum/);
    expect(groups).toContain("print(group.values, group.results)");
    const distinct = { query, aggregates: [], groupBy: ["x", "y"] };
    expect(pythonOf(distinct, PLACE)).toContain('.distinct("x", "y")');
    expect(curlOf(distinct, PLACE)).toContain("documents:aggregate");
    expect(curlOf(distinct, PLACE)).toContain('"group_by":["x","y"]');
  });

  test("a shell takes any text as it is", () => {
    const query = { collection: "c", where: { field: "a", op: "==", value: "it's $(rm) `x`" } };
    expect(curlOf(askedDocuments(query), PLACE)).toContain(`it'"'"'s $(rm) \`x\``);
  });
});

test("a cut is at a document, in the whole order of its query", () => {
  const where = [
    { field: "z", op: ">" as const, value: { kind: "integer" as const, value: 1n } },
    { field: "a.`b c`", op: "!=" as const, value: { kind: "null" as const } },
  ];
  const orderBy = [{ field: "n", direction: "desc" as const }];
  const fields = decodeFields({ n: 5, z: 2, a: { "b c": { $double: 3 } } });
  const view = { where, orderBy, group: false };
  const query = encodeQuery("c", view, 2, true);
  expect(query.order_by).toEqual(
    ["n", "a.`b c`", "z", "__name__"].map((field) => ({ field, direction: "desc" })),
  );
  expect(cutValues(view, { path: "c/d", fields })).toEqual([5, { $double: 3 }, 2, { $ref: "c/d" }]);
});

describe("cursors", () => {
  const value = (type: "integer" | "string" | "reference", text: string) => ({
    type,
    text,
    chosen: true,
  });
  const draft: QueryDraft = {
    ...EMPTY_QUERY,
    collection: "cities",
    orders: [{ field: "population", direction: "desc" }],
    start: { values: [value("integer", "1000")], isIncluded: false },
    end: { values: [value("integer", "10"), value("reference", "cities/oslo")], isIncluded: true },
  };

  test("are written with the orders that their values belong to, and read again", () => {
    const asked = encodeDraft(draft);
    expect(asked.query).toEqual({
      collection: "cities",
      order_by: [
        { field: "population", direction: "desc" },
        { field: "__name__", direction: "desc" },
      ],
      start: { values: [1000], before: false },
      end: { values: [10, { $ref: "cities/oslo" }], before: false },
    });
    const again = readAsked(writeAsked(asked));
    expect(again === null ? null : encodeDraft(decodeDraft(again))).toEqual(asked);
    expect(
      encodeDraft({ ...draft, start: { ...EMPTY_CURSOR, values: [value("integer", "5")] } }).query
        .start,
    ).toEqual({
      values: [5],
      before: true,
    });
    expect(
      encodeDraft({ ...draft, end: { values: [value("integer", "5")], isIncluded: false } }).query
        .end,
    ).toEqual({
      values: [5],
      before: true,
    });
  });

  test("with more values than orders, or a wrong one, are told", () => {
    const values = [value("integer", "1"), value("string", "a"), value("string", "b")];
    expect(() => encodeDraft({ ...draft, start: { values, isIncluded: true } })).toThrow(
      "at most 2",
    );
    const wrong = { values: [value("integer", "many")], isIncluded: true };
    expect(() => encodeDraft({ ...draft, end: wrong })).toThrow("population at the end");
  });

  test("are taken from a document, in the whole order", () => {
    const document = { path: "cities/oslo", fields: decodeFields({ population: 7, area: 3 }) };
    const filter = {
      ...EMPTY_FILTER,
      field: "area",
      op: ">" as const,
      type: "integer" as const,
      text: "1",
    };
    const where = { kind: "and" as const, items: [filter] };
    const { orders, values } = cursorAt({ ...draft, where }, document);
    expect(orders.map(({ field }) => field)).toEqual(["population", "area", "__name__"]);
    expect(values.map(({ type, text }) => [type, text])).toEqual([
      ["integer", "7"],
      ["integer", "3"],
      ["reference", "cities/oslo"],
    ]);
  });

  test("are in the code to take along", () => {
    const code = pythonOf(encodeDraft(draft), PLACE);
    expect(code).toContain(".start_after([1000])");
    expect(code).toContain('.end_at([10, client.document("cities/oslo")])');
    expect(curlOf(encodeDraft(draft), PLACE)).toContain('"start":{"values":[1000],"before":false}');
  });
});
