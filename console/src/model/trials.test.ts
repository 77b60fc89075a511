import { describe, expect, test } from "vitest";
import { type JsonObject, NumberLiteral } from "./json";
import { type TestCase, withTestCase, yamlOf } from "./testcases";
import {
  EMPTY_TRIAL,
  EMPTY_WRITE,
  encodeBatch,
  encodeTrial,
  FormFault,
  fieldsText,
  isBatch,
  testCaseOf,
  type TrialForm,
} from "./trials";

const GET: TrialForm = { ...EMPTY_TRIAL, path: "notes/n1" };

function faultOf(change: Partial<TrialForm>): string {
  try {
    encodeTrial({ ...GET, ...change }, null);
  } catch (error) {
    if (error instanceof FormFault) return error.input;
    throw error;
  }
  return "none";
}

describe("a request of the playground", () => {
  test("is encoded with what the method takes, and no more", () => {
    expect(encodeTrial(GET, "draft")).toEqual({
      service: "documents",
      database: "(default)",
      method: "get",
      path: "notes/n1",
      source: "draft",
      caller: null,
    });
    const update: TrialForm = {
      ...GET,
      method: "update",
      path: "/notes/n1/",
      caller: "custom",
      uid: " ada ",
      claims: '{"admin": true}',
      before: "given",
      beforeText: '{"n": 1}',
      afterText: '{"n": 1.0, "big": 9223372036854775807}',
      time: "2026-01-01T00:00:00Z",
    };
    const { source: _, ...rest } = encodeTrial(update, null);
    expect(rest).toEqual({
      service: "documents",
      database: "(default)",
      method: "update",
      path: "notes/n1",
      caller: { uid: "ada", claims: { admin: true } },
      before: { n: 1 },
      after: { n: { $double: 1 }, big: { $int: "9223372036854775807" } },
      time: "2026-01-01T00:00:00.000000Z",
    });
    expect(encodeTrial({ ...update, before: "none" }, null).before).toBeNull();
    expect("after" in encodeTrial({ ...update, method: "delete" }, null)).toBe(false);
  });

  test("a list is a query, of files a prefix", () => {
    const list: TrialForm = { ...GET, method: "list", path: "notes", limit: "5" };
    expect(encodeTrial(list, null).query).toEqual({ collection: "notes", limit: 5 });
    const files: TrialForm = { ...list, service: "objects", bucket: "b", path: "a/" };
    expect(encodeTrial(files, null)).toMatchObject({ bucket: "b", path: "a/", by_folder: true });
  });

  const CREATE: TrialForm = {
    ...GET,
    method: "create",
    afterText: '{"n": 1}',
    others: [{ ...EMPTY_WRITE, method: "update", path: "/items/i1", afterText: '{"left": 4}' }],
  };

  test("several writes are one commit", () => {
    expect(isBatch(GET)).toBe(false);
    expect(isBatch({ ...CREATE, method: "get" })).toBe(false);
    expect(isBatch({ ...CREATE, service: "objects" })).toBe(false);
    expect(isBatch(CREATE)).toBe(true);
    const commit: TrialForm = { ...CREATE, caller: "custom", uid: "ada" };
    expect(encodeBatch(commit, "draft")).toEqual({
      source: "draft",
      database: "(default)",
      caller: { uid: "ada", claims: {} },
      writes: [
        { method: "create", path: "notes/n1", after: { n: 1 } },
        { method: "update", path: "items/i1", after: { left: 4 } },
      ],
    });
    const wrong = { ...CREATE, others: [{ ...EMPTY_WRITE, path: "items" }] };
    expect(() => encodeBatch(wrong, null)).toThrow(
      expect.objectContaining({ input: "path", other: 0 }),
    );
    expect(() => encodeBatch({ ...CREATE, path: "" }, null)).toThrow(
      expect.objectContaining({ input: "path", other: null }),
    );
  });

  test("faults are told where they are", () => {
    expect(faultOf({})).toBe("none");
    expect(faultOf({ path: "" })).toBe("path");
    expect(faultOf({ path: "notes" })).toBe("path");
    expect(faultOf({ method: "list" })).toBe("path");
    expect(faultOf({ method: "list", path: "notes", limit: "0" })).toBe("limit");
    expect(faultOf({ caller: "user" })).toBe("user");
    expect(faultOf({ caller: "custom" })).toBe("uid");
    expect(faultOf({ caller: "custom", uid: "x", claims: "[]" })).toBe("claims");
    expect(faultOf({ caller: "custom", uid: "x", claims: "5" })).toBe("claims");
    expect(faultOf({ method: "create", afterText: "{" })).toBe("afterText");
    expect(faultOf({ before: "given", beforeText: '{"a": {"$timestamp": 5}}' })).toBe("beforeText");
    expect(faultOf({ time: "yesterday" })).toBe("time");
    expect(faultOf({ service: "objects" })).toBe("bucket");
  });
});

describe("YAML", () => {
  test("holds any text on one line", () => {
    const hostile = 'x: "y"\n- z # \u2028\u0085\ufeff \\ </script>';
    expect(yamlOf(hostile)).toBe('"x: \\"y\\"\\n- z # \\u2028\\u0085\\ufeff \\\\ </script>"');
    const tree = { a: [1, new NumberLiteral("1.50"), null], v: { $vector: [1, 2] } } as JsonObject;
    expect(yamlOf(tree)).toBe('{"a": [1, 1.50, null], "v": [1, 2]}');
  });

  const one: TestCase = {
    name: "n",
    expect: "deny",
    service: "documents",
    database: "(default)",
    method: "get",
    path: "a/b",
    caller: null,
    time: null,
    stored: [],
    documents: [],
    data: null,
    query: null,
    batch: [],
  };
  const LINES = '  - name: "n"\n    get: "a/b"\n    expect: deny\n';

  test("a test is added at the end of the tests, wherever that is", () => {
    expect(withTestCase("", one)).toBe(`tests:\n${LINES}`);
    expect(withTestCase("tests: []", one)).toBe(`tests:\n${LINES}`);
    expect(withTestCase("time: 2026-01-01", one)).toBe(`time: 2026-01-01\ntests:\n${LINES}`);
    const early = "tests:\n- {get: a/b, expect: allow}\n\ntime: 2026-01-01\n";
    expect(withTestCase(early, one)).toBe(
      'tests:\n- {get: a/b, expect: allow}\n\n- name: "n"\n  get: "a/b"\n  expect: deny\n\ntime: 2026-01-01\n',
    );
    expect(withTestCase(withTestCase("", one), one)).toBe(`tests:\n${LINES}\n${LINES}`);
  });

  test("a trial becomes a test on documents of its own", () => {
    const form: TrialForm = { ...GET, caller: "user", user: "u1" };
    const tried = {
      time: "2026-01-01T00:00:00.000000Z",
      auth: { uid: "u1", token: { email: "a@b.c", iss: "x", iat: 5, sub: "u1" } },
      before: { owner: "u1" },
      lookups: [
        { path: "members/u1", after: false, fields: { n: 1 } },
        { path: "members/none", after: false, fields: null },
        { path: "notes/n1", after: true, fields: {} },
      ],
    };
    const made = testCaseOf(
      form,
      [tried],
      "request.time > request.auth.token.iat",
      "hers",
      "allow",
    );
    expect(withTestCase("", made)).toBe(
      `tests:
  - name: "hers"
    time: "2026-01-01T00:00:00.000000Z"
    documents:
      "notes/n1": {"owner": "u1"}
      "members/u1": {"n": 1}
    as: {uid: "u1", token: {"email": "a@b.c", "iat": 5}}
    get: "notes/n1"
    expect: allow
`,
    );
  });

  test("so does a commit of several writes", () => {
    const form: TrialForm = {
      ...GET,
      method: "create",
      afterText: '{"n": 1}',
      others: [{ ...EMPTY_WRITE, method: "delete", path: "drafts/n1" }],
    };
    const none = { time: "2026-01-01T00:00:00Z", auth: null, before: null, lookups: [] };
    const gone = {
      ...none,
      before: { n: 0 },
      lookups: [
        { path: "drafts/n1", after: false, fields: { n: 0 } },
        { path: "counts/all", after: false, fields: { n: 2 } },
      ],
    };
    const made = testCaseOf(form, [none, { ...gone }], "", "both", "allow");
    expect(withTestCase("", made)).toBe(`tests:
  - name: "both"
    documents:
      "drafts/n1": {"n": 0}
      "counts/all": {"n": 2}
    batch:
      - {"create": "notes/n1", "data": {"n": 1}}
      - {"delete": "drafts/n1"}
    expect: allow
`);
  });

  test("so do lists, and files", () => {
    const where = [{ field: "owner", op: "==", value: { kind: "string", value: "u" } }] as const;
    const list: TrialForm = {
      ...GET,
      method: "list",
      path: "notes",
      limit: "3",
      view: { where, orderBy: [{ field: "n", direction: "desc" }], group: true },
    };
    const tried = { time: "2026-01-01T00:00:00Z", auth: null, before: null, lookups: [] };
    expect(withTestCase("", testCaseOf(list, [tried], "", "l", "deny"))).toContain(
      `    list: "notes"
    where: [["owner", "==", "u"]]
    order_by: [["n", "desc"]]
    limit: 3
    group: true
`,
    );
    const file: TrialForm = { ...GET, service: "objects", bucket: "b", path: "a/f.txt" };
    const stored = { ...tried, before: { size: 5 } };
    expect(withTestCase("", testCaseOf(file, [stored], "", "f", "deny"))).toContain(
      `    service: storage
    objects:
      "b/a/f.txt": {"size": 5}
    get: "b/a/f.txt"
`,
    );
  });

  test("fields are shown with their types", () => {
    expect(fieldsText({ a: { $double: 1 } })).toBe('{\n  "a": 1.0\n}');
    expect(fieldsText(null)).toBe("{}");
  });
});
