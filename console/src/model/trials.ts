/** What the playground's form says, as a request of the server and as a test. Pure. */

import { JsonError, type JsonObject, NumberLiteral, parseJson, writeJson } from "./json";
import { DEFAULT_DATABASE } from "./routes";
import { EMPTY_VIEW, encodeQuery, type View } from "./queries";
import type { TestCase } from "./testcases";
import { decodeFields, encodeFields, InvalidValue, normalTimestamp } from "./values";

export const METHODS = ["get", "list", "create", "update", "delete"] as const;
export type Method = (typeof METHODS)[number];

export interface TrialForm {
  service: "documents" | "objects";
  method: Method;
  database: string;
  bucket: string;
  /** A document, a collection, an object, a prefix; by the service and the method. */
  path: string;
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
  before: "stored" | "none" | "given";
  beforeText: string;
  afterText: string;
  time: string;
}

export const EMPTY_TRIAL: TrialForm = {
  service: "documents",
  method: "get",
  database: DEFAULT_DATABASE,
  bucket: "",
  path: "",
  view: EMPTY_VIEW,
  limit: "",
  byFolder: true,
  caller: "nobody",
  user: "",
  uid: "",
  claims: "",
  before: "stored",
  beforeText: "{}",
  afterText: "{}",
  time: "",
};

export function writesData(form: TrialForm): boolean {
  return form.method === "create" || form.method === "update";
}

export function readsBefore(form: TrialForm): boolean {
  return form.method === "get" || form.method === "update" || form.method === "delete";
}

/** A fault of the form, at one of its inputs. */
export class FormFault extends Error {
  constructor(
    readonly input: keyof TrialForm,
    message: string,
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
  if (text.trim() === "") return {};
  let tree: unknown;
  try {
    tree = parseJson(text).tree;
  } catch (error) {
    throw new FormFault("claims", faultText(error, text));
  }
  const isObject = tree !== null && typeof tree === "object" && !Array.isArray(tree);
  if (!isObject || tree instanceof NumberLiteral)
    throw new FormFault("claims", 'claims are an object, such as {"admin": true}');
  return tree as JsonObject;
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
  trial.caller = callerOf(form);
  if (readsBefore(form) && form.before !== "stored")
    trial.before = form.before === "none" ? null : fieldsOf("beforeText", form.beforeText);
  if (writesData(form)) trial.after = fieldsOf("afterText", form.afterText);
  if (form.time.trim() !== "") {
    try {
      trial.time = normalTimestamp(form.time);
    } catch {
      throw new FormFault("time", "a time is such as 2026-11-22T17:00:00Z");
    }
  }
  return trial;
}

/** Fields as they are shown to be edited. */
export function fieldsText(fields: JsonObject | null): string {
  return fields === null ? "{}" : writeJson(encodeFields(decodeFields(fields), true), 2);
}

// What every token says; a test needs it only if the rules look at it.
const COMMON_CLAIMS = ["iss", "aud", "sub", "user_id", "auth_time", "iat", "exp", "baas"];

/** What the server said of a trial, as far as a test of it needs. */
export interface Tried {
  time: string;
  auth: JsonObject | null;
  before: JsonObject | null;
  lookups: readonly { path: string; after: boolean; fields: JsonObject | null }[];
}

/** The same request as a test: on documents of its own, so that it holds for ever. */
export function testCaseOf(
  form: TrialForm,
  tried: Tried,
  source: string,
  name: string,
  expect: TestCase["expect"],
): TestCase {
  const trial = encodeTrial(form, null);
  const ofObjects = form.service === "objects";
  const path = pathOf(form);
  const full = ofObjects ? `${form.bucket}/${path}` : path;
  const lookedUp = tried.lookups
    .filter((one) => !one.after)
    .map((one) => [one.path, one.fields] as const);
  const own: (readonly [string, JsonObject | null])[] =
    tried.before === null ? [] : [[full, tried.before]];
  const auth = tried.auth;
  const token = (auth?.token ?? {}) as JsonObject;
  const claims = Object.fromEntries(
    Object.entries(token).filter(
      ([claim]) => !COMMON_CLAIMS.includes(claim) || new RegExp(`\\b${claim}\\b`).test(source),
    ),
  ) as JsonObject;
  return {
    name,
    expect,
    service: form.service,
    database: form.database,
    method: form.method,
    path: full,
    caller: auth === null ? null : { uid: String(auth.uid), claims },
    time: form.time.trim() !== "" || /\btime\b/.test(source) ? tried.time : null,
    stored: ofObjects
      ? own
      : [...own, ...lookedUp.filter(([other, fields]) => other !== full && fields !== null)],
    documents: ofObjects ? lookedUp.filter(([, fields]) => fields !== null) : [],
    data: (trial.after as JsonObject | undefined) ?? null,
    query: (trial.query as JsonObject | undefined) ?? null,
  };
}
