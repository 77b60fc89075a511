import { describe, expect, test } from "vitest";
import {
  faultOfId,
  fieldSegment,
  isCollection,
  isDocument,
  newId,
  splitPath,
  urlPath,
} from "./paths";
import { encodeQuery, guessKind, type View } from "./queries";
import {
  ANY_DENIAL,
  dataHash,
  pageHash,
  parseHash,
  referenceHash,
  rulesHash,
  setupToken,
} from "./routes";

const RULES = { page: "rules", project: "demo", release: null, denials: ANY_DENIAL, tried: null };

const VIEW: View = {
  where: [
    { field: "a.`b c`", op: ">=", value: { kind: "double", value: 3 } },
    {
      field: "t",
      op: "in",
      value: { kind: "array", values: [{ kind: "string", value: "x&y#z%" }] },
    },
  ],
  orderBy: [{ field: "a:b", direction: "desc" }],
  group: true,
};

describe("hash addresses", () => {
  test.each([
    ["", { page: "projects" }],
    ["#/", { page: "projects" }],
    ["#/projects", { page: "projects" }],
    ["#/setup?token=abc", { page: "setup" }],
    ["#/projects/demo/rules", { ...RULES, section: "editor" }],
    ["#/projects/demo/rules/history/abc", { ...RULES, section: "history", release: "abc" }],
    ["#/projects/demo/rules/nope", { page: "unknown", hash: "#/projects/demo/rules/nope" }],
    ["#/projects/demo/rules/audit/x", { page: "unknown", hash: "#/projects/demo/rules/audit/x" }],
    ["#/projects/demo/nope", { page: "unknown", hash: "#/projects/demo/nope" }],
    ["#/projects/demo/data/%E0%A4%A", { page: "unknown", hash: "#/projects/demo/data/%E0%A4%A" }],
  ])("%s", (hash, route) => {
    expect(parseHash(hash)).toEqual(route);
  });

  test("denials that are looked for, and what is tried, come back from their hash", () => {
    const denials = { requestId: "a-1", path: "notes/a b&c", uid: "x=y", method: "get" };
    const hash = rulesHash("demo", "denials", { denials });
    expect(parseHash(hash)).toEqual({ ...RULES, section: "denials", denials });
    const tried = { database: "other", path: "notes/a b" };
    expect(parseHash(rulesHash("demo", "editor", { tried }))).toEqual({
      ...RULES,
      section: "editor",
      tried,
    });
    expect(rulesHash("demo")).toBe("#/projects/demo/rules");
    expect(rulesHash("demo", "history", { release: "r/1" })).toBe(
      "#/projects/demo/rules/history/r%2F1",
    );
  });

  test("a data view comes back from its hash as it was", () => {
    const path = ["cities", "a b/?#%é", "notes"];
    const hash = dataHash("demo", "other", path, VIEW);
    expect(parseHash(hash)).toEqual({
      page: "data",
      project: "demo",
      database: "other",
      path,
      view: VIEW,
    });
  });

  test("the plain view has a plain hash", () => {
    expect(dataHash("demo", "(default)", ["cities"])).toBe("#/projects/demo/data/cities");
    expect(pageHash("demo", "users")).toBe("#/projects/demo/users");
    expect(parseHash("#/projects/demo")).toMatchObject({ page: "data", path: [] });
  });

  test("damaged filters are left out", () => {
    const route = parseHash('#/projects/p/data/c?where=["a","like",1]&where={&where=["a","==",1]');
    expect(route.page === "data" && route.view.where).toHaveLength(1);
  });

  test("references lead to their document", () => {
    expect(referenceHash("p", "d", "users/ada")).toBe("#/projects/p/data/users/ada?database=d");
    expect(referenceHash("p", "d", "projects/q/databases/(default)/documents/a/b")).toBe(
      "#/projects/q/data/a/b",
    );
  });

  test("the set-up token is read from the fragment only", () => {
    expect(setupToken("#/setup?token=a%2Bb")).toBe("a+b");
    expect(setupToken("#/setup")).toBeNull();
    expect(setupToken("#/projects/p/data/setup?token=x")).toBeNull();
  });
});

describe("queries", () => {
  test("become wire JSON", () => {
    expect(encodeQuery("c", { ...VIEW, group: false }, 10)).toEqual({
      collection: "c",
      where: {
        and: [
          { field: "a.`b c`", op: ">=", value: { $double: 3 } },
          { field: "t", op: "in", value: ["x&y#z%"] },
        ],
      },
      order_by: [{ field: "a:b", direction: "desc" }],
      limit: 10,
    });
    expect(encodeQuery("c", { where: [], orderBy: [], group: true }, null)).toEqual({
      collection: "c",
      group: true,
    });
  });

  test.each([
    ["12", "integer"],
    ["-1.5", "double"],
    ["1e3", "double"],
    ["true", "boolean"],
    ["null", "null"],
    ["2026-11-22T10:00", "timestamp"],
    ["[1]", "array"],
    ["ada", "string"],
    ["", "string"],
  ])("%s is most likely of type %s", (text, kind) => {
    expect(guessKind(text)).toBe(kind);
  });
});

describe("paths", () => {
  test("know documents from collections", () => {
    expect(splitPath(" /users/ada/ ")).toEqual(["users", "ada"]);
    expect(isDocument(["a", "b"])).toBe(true);
    expect(isDocument([])).toBe(false);
    expect(isCollection(["a"])).toBe(true);
    expect(urlPath(["a b", "é/"])).toBe("a%20b/%C3%A9%2F");
  });

  test("ids that the server would refuse are found out here", () => {
    for (const id of ["", "a/b", ".", "..", "__x__", "é".repeat(751)])
      expect(faultOfId(id)).not.toBeNull();
    for (const id of ["a", "__id7__", "é", " ", "<script>"]) expect(faultOfId(id)).toBeNull();
  });

  test("field names that are no words stand in backticks", () => {
    expect(fieldSegment("a_1")).toBe("a_1");
    expect(fieldSegment("a.b")).toBe("`a.b`");
    expect(fieldSegment("`\\")).toBe("`\\`\\\\`");
  });

  test("new ids are 20 letters and digits", () => {
    expect(newId()).toMatch(/^[A-Za-z0-9]{20}$/);
    expect(newId()).not.toBe(newId());
  });
});
