/** What the playground's form says, as a request of the server and as a test. Pure. */

import { parseClaims } from "./claims";
import { JsonError, type JsonObject, parseJson, writeJson } from "./json";
import { DEFAULT_DATABASE } from "./routes";
import { EMPTY_VIEW, encodeQuery, type View } from "./queries";
import type { TestCase } from "./testcases";
import { decodeFields, encodeFields, InvalidValue, normalTimestamp } from "./values";

export const METHODS = ["get", "list", "create", "update", "delete"] as const;
export type Method = (typeof METHODS)[number];

/** What a commit may do to a document, to try. */
export const WRITE_METHODS = ["create", "update", "delete"] as const satisfies readonly Method[];
/** As the server has it. */
export const WRITES_MAX = 20;

/** What is done to one document or object. */
export interface WriteForm {
  method: Method;
  /** A document, a collection, an object, a prefix; by the service and the method. */
  path: string;
  before: "stored" | "none" | "given";
  beforeText: string;
  afterText: string;
}

export interface TrialForm extends WriteForm {
  service: "documents" | "objects";
  database: string;
  bucket: string;
  /** Further documents that the same commit writes. */
  others: readonly WriteForm[];
  view: View;
  limit: string;
  /** Lists of objects: with a delimiter. */
  byFolder: boolean;
  caller: "nobody" | "user" | "custom";
  /** The uid or e-mail address of a user of the project. */
  user: string;
  /** Of somebody made up. */
  uid: string;
  claims: string;
  time: string;
}

export const EMPTY_WRITE: WriteForm = {
  method: "create",
  path: "",
  before: "stored",
  beforeText: "{}",
  afterText: "{}",
};

export const EMPTY_TRIAL: TrialForm = {
  ...EMPTY_WRITE,
  method: "get",
  service: "documents",
  database: DEFAULT_DATABASE,
  bucket: "",
  others: [],
  view: EMPTY_VIEW,
  limit: "",
  byFolder: true,
  caller: "nobody",
  user: "",
  uid: "",
  claims: "",
  time: "",
};

/** Whether the request may be one of several writes. */
export function mayBeBatch({ service, method }: TrialForm): boolean {
  return service === "documents" && method !== "get" && method !== "list";
}

export function isBatch(form: TrialForm): boolean {
  return mayBeBatch(form) && form.others.length > 0;
}

/** Each write of the commit as a request of its own. */
export function writesOf(form: TrialForm): TrialForm[] {
  if (!isBatch(form)) return [form];
  return [form, ...form.others.map((other) => ({ ...form, ...other }))];
}

export function writesData(form: WriteForm): boolean {
  return form.method === "create" || form.method === "update";
}

export function readsBefore(form: WriteForm): boolean {
  return form.method === "get" || form.method === "update" || form.method === "delete";
}

/** A fault of the form, at one of its inputs; of the further writes, at that of the `other` one. */
export class FormFault extends Error {
  constructor(
    readonly input: keyof TrialForm,
    message: string,
    readonly other: number | null = null,
  ) {
    super(message);
  }
}

function fieldsOf(input: keyof TrialForm, text: string): JsonObject {
  try {
    return encodeFields(decodeFields(parseJson(text).tree));
  } catch (error) {
    throw new FormFault(input, faultText(error, text));
  }
}

function claimsOf(text: string): JsonObject {
  try {
    return parseClaims(text);
  } catch (error) {
    throw new FormFault("claims", faultText(error, text));
  }
}

function faultText(error: unknown, text: string): string {
  if (error instanceof JsonError)
    return `line ${text.slice(0, error.offset).split("\n").length}: ${error.message}`;
  if (error instanceof InvalidValue && error.at !== "") return `${error.at}: ${error.message}`;
  return error instanceof Error ? error.message : String(error);
}

function pathOf(form: TrialForm): string {
  const path = form.path.trim();
  if (form.service === "objects") return path;
  const bare = path.replace(/^\/+|\/+$/g, "");
  if (bare === "")
    throw new FormFault("path", form.method === "list" ? "name a collection" : "name a document");
  const isCollection = bare.split("/").length % 2 === 1;
  if (form.method === "list" && !isCollection)
    throw new FormFault("path", "this is a document: a collection is listed, such as notes");
  if (form.method !== "list" && isCollection)
    throw new FormFault("path", "this is a collection: name a document, such as notes/n1");
  return bare;
}

function limitOf(text: string): number | null {
  if (text.trim() === "") return null;
  if (!/^[1-9]\d{0,8}$/.test(text.trim()))
    throw new FormFault("limit", "a limit is a whole number from 1");
  return Number(text);
}

function callerOf(form: TrialForm): JsonObject | null {
  if (form.caller === "nobody") return null;
  const claims = claimsOf(form.claims);
  if (form.caller === "user") {
    if (form.user.trim() === "") throw new FormFault("user", "choose a user");
    return { user: form.user.trim(), claims };
  }
  if (form.uid.trim() === "") throw new FormFault("uid", "give a uid");
  return { uid: form.uid.trim(), claims };
}

/** The server's request. Throws FormFault. `source` null: the rules in force are asked. */
export function encodeTrial(form: TrialForm, source: string | null): JsonObject {
  const trial: JsonObject = { service: form.service, method: form.method };
  if (source !== null) trial.source = source;
  if (form.service === "objects") {
    if (form.bucket === "") throw new FormFault("bucket", "choose a bucket");
    trial.bucket = form.bucket;
  } else trial.database = form.database;
  const path = pathOf(form);
  if (form.service === "documents" && form.method === "list")
    trial.query = encodeQuery(path, form.view, limitOf(form.limit));
  else trial.path = path;
  if (form.service === "objects" && form.method === "list") trial.by_folder = form.byFolder;
  return { ...trial, caller: callerOf(form), ...dataOf(form), ...timeOf(form) };
}

/** The server's request of a commit. Throws FormFault. */
export function encodeBatch(form: TrialForm, source: string | null): JsonObject {
  const writes = writesOf(form).map((one, at) => {
    try {
      return { method: one.method, path: pathOf(one), ...dataOf(one) };
    } catch (error) {
      if (!(error instanceof FormFault) || at === 0) throw error;
      throw new FormFault(error.input, error.message, at - 1);
    }
  });
  const batch: JsonObject = { writes, database: form.database, caller: callerOf(form) };
  if (source !== null) batch.source = source;
  return { ...batch, ...timeOf(form) };
}

function dataOf(form: WriteForm): JsonObject {
  const data: JsonObject = {};
  if (readsBefore(form) && form.before !== "stored")
    data.before = form.before === "none" ? null : fieldsOf("beforeText", form.beforeText);
  if (writesData(form)) data.after = fieldsOf("afterText", form.afterText);
  return data;
}

function timeOf(form: TrialForm): JsonObject {
  if (form.time.trim() === "") return {};
  try {
    return { time: normalTimestamp(form.time) };
  } catch {
    throw new FormFault("time", "a time is such as 2026-11-22T17:00:00Z");
  }
}

/** Fields as they are shown to be edited. */
export function fieldsText(fields: JsonObject | null): string {
  return fields === null ? "{}" : writeJson(encodeFields(decodeFields(fields), true), 2);
}

// What every token says; a test needs it only if the rules look at it.
const COMMON_CLAIMS = ["iss", "aud", "sub", "user_id", "auth_time", "iat", "exp", "baas"];

/** What the server said of a trial, as far as a test of it needs: one result for each write. */
export interface Tried {
  time: string;
  auth: JsonObject | null;
  before: JsonObject | null;
  lookups: readonly { path: string; after: boolean; fields: JsonObject | null }[];
}

/** The same request as a test: on documents of its own, so that it holds for ever. */
export function testCaseOf(
  form: TrialForm,
  tried: readonly [Tried, ...Tried[]],
  source: string,
  name: string,
  expect: TestCase["expect"],
): TestCase {
  const [first] = tried;
  const trial = encodeTrial(form, null);
  const writes = writesOf(form);
  const full = writes.map((one) => fullPathOf(one));
  const own = tried.flatMap(({ before }, at) =>
    before === null ? [] : [[full[at] ?? "", before] as const],
  );
  const lookedUp = lookedUpBy(tried);
  const ofObjects = form.service === "objects";
  return {
    name,
    expect,
    service: form.service,
    database: form.database,
    method: form.method,
    path: fullPathOf(form),
    caller: testCallerOf(first.auth, source),
    time: form.time.trim() !== "" || /\btime\b/.test(source) ? first.time : null,
    stored: ofObjects
      ? own
      : [...own, ...lookedUp.filter(([path, fields]) => !full.includes(path) && fields !== null)],
    documents: ofObjects ? lookedUp.filter(([, fields]) => fields !== null) : [],
    data: (trial.after as JsonObject | undefined) ?? null,
    query: (trial.query as JsonObject | undefined) ?? null,
    batch: isBatch(form)
      ? writes.map((one) => ({
          method: one.method,
          path: fullPathOf(one),
          data: (dataOf(one).after as JsonObject | undefined) ?? null,
        }))
      : [],
  };
}

function fullPathOf(form: TrialForm): string {
  const path = pathOf(form);
  return form.service === "objects" ? `${form.bucket}/${path}` : path;
}

/** Each document once, as it is before anything is written. */
function lookedUpBy(tried: readonly Tried[]): (readonly [string, JsonObject | null])[] {
  const before = tried.flatMap(({ lookups }) => lookups.filter((one) => !one.after));
  return [...new Map(before.map((one) => [one.path, one.fields]))];
}

function testCallerOf(auth: JsonObject | null, source: string): TestCase["caller"] {
  if (auth === null) return null;
  const claims = Object.entries((auth.token ?? {}) as JsonObject).filter(
    ([claim]) => !COMMON_CLAIMS.includes(claim) || new RegExp(`\\b${claim}\\b`).test(source),
  );
  return { uid: String(auth.uid), claims: Object.fromEntries(claims) };
}
