/** Rules tried out on the server: the playground and the runner of tests. */

import type { JsonObject } from "../model/json";
import { list, text } from "./admin";
import { call } from "./client";
import { rulesPath } from "./rules";

export interface Step {
  depth: number;
  text: string;
  line: number;
  column: number;
  endColumn: number;
  value: string | null;
  error: string | null;
}

export interface Attempt {
  match: string;
  line: number;
  methods: string[];
  captures: [string, string][];
  outcome: "granted" | "false" | "error" | "not proved" | "not tried";
  steps: Step[];
}

export interface Reason {
  message: string;
  line: number;
  column: number;
  endColumn: number;
  hint: string | null;
  values: [string, string][];
}

export interface Lookup {
  path: string;
  database: string | null;
  after: boolean;
  exists: boolean;
  /** Null: there is no such document, or it is not told. */
  fields: JsonObject | null;
}

/** Why a request was allowed or denied. */
export interface Explained {
  attempts: Attempt[];
  reasons: Reason[];
  lookups: Lookup[];
  expressions: number;
}

export interface TrialResult extends Explained {
  allowed: boolean;
  subject: string;
  release: string | null;
  time: string;
  auth: JsonObject | null;
  before: JsonObject | null;
  expressionsMax: number;
}

export function objectOf(value: unknown): JsonObject | null {
  return value !== null && typeof value === "object" && !Array.isArray(value)
    ? (value as JsonObject)
    : null;
}

function decodePlace(tree: JsonObject): { line: number; column: number; endColumn: number } {
  const column = Number(tree.column);
  return { line: Number(tree.line), column, endColumn: Number(tree.end_column ?? column) };
}

function decodeReason(tree: JsonObject): Reason {
  return {
    message: String(tree.message),
    ...decodePlace(tree),
    hint: text(tree.hint),
    values: list(tree.values).map((item) => [String(item.text), String(item.value)]),
  };
}

function decodeAttempt(tree: JsonObject): Attempt {
  return {
    match: String(tree.match),
    line: Number(tree.line),
    methods: Array.isArray(tree.methods) ? tree.methods.map(String) : [],
    captures: Object.entries(objectOf(tree.captures) ?? {}).map(([name, value]) => [
      name,
      String(value),
    ]),
    outcome: String(tree.outcome) as Attempt["outcome"],
    steps: list(tree.steps).map((step) => ({
      depth: Number(step.depth),
      text: String(step.text),
      ...decodePlace(step),
      value: text(step.value),
      error: text(step.error),
    })),
  };
}

export function decodeExplained(tree: JsonObject): Explained {
  return {
    attempts: list(tree.attempts).map(decodeAttempt),
    reasons: list(tree.reasons).map(decodeReason),
    lookups: list(tree.lookups).map((item) => ({
      path: String(item.path),
      database: text(item.database),
      after: item.after === true,
      exists: item.exists === true || objectOf(item.fields) !== null,
      fields: objectOf(item.fields),
    })),
    expressions: Number(tree.expressions),
  };
}

/** A commit of one or several writes, or a read: what was said of each. */
export interface TrialAnswer {
  allowed: boolean;
  results: readonly [TrialResult, ...TrialResult[]];
  /** Documents that all grants of a commit rest on; null: it was no commit of several writes. */
  lookedUp: { count: number; most: number } | null;
}

export async function explainRules(
  project: string,
  trial: JsonObject,
  signal?: AbortSignal,
): Promise<TrialResult> {
  const tree = await post(project, "explain", trial, signal);
  return decodeResult(tree, tree);
}

export async function explainBatch(
  project: string,
  batch: JsonObject,
  signal?: AbortSignal,
): Promise<TrialAnswer> {
  const tree = await post(project, "explain-batch", batch, signal);
  const [first, ...others] = list(tree.writes).map((write) => decodeResult(write, tree));
  if (first === undefined) throw new Error("the server explained no write");
  return {
    allowed: tree.allowed === true,
    results: [first, ...others],
    lookedUp: { count: Number(tree.looked_up), most: Number(tree.looked_up_max) },
  };
}

async function post(
  project: string,
  verb: string,
  body: JsonObject,
  signal?: AbortSignal,
): Promise<JsonObject> {
  const options = { body, ...(signal === undefined ? {} : { signal }) };
  return call("POST", `${rulesPath(project)}:${verb}`, options);
}

/** `whole` says what was asked, as whom, and when. */
function decodeResult(tree: JsonObject, whole: JsonObject): TrialResult {
  return {
    allowed: tree.allowed === true,
    subject: String(tree.subject),
    release: text(whole.release),
    time: String(whole.time),
    auth: objectOf(whole.auth),
    before: objectOf(tree.before),
    ...decodeExplained(tree),
    expressionsMax: Number(whole.expressions_max),
  };
}

// Tests

export interface TestResult {
  name: string;
  line: number;
  passed: boolean;
  failure: string | null;
}

/** What tests have reached: how often something was evaluated, and to what. */
export interface Reached {
  text: string;
  line: number;
  column: number;
  true: number;
  false: number;
  error: number;
  other: number;
  gap: string | null;
}

export interface TestRun {
  release: string | null;
  passed: number;
  failed: number;
  notRun: number;
  results: TestResult[];
  coverage: { percent: number; statements: Reached[]; expressions: Reached[] };
}

function decodeReached(tree: JsonObject): Reached {
  return {
    text: String(tree.text),
    line: Number(tree.line),
    column: Number(tree.column),
    true: Number(tree.true),
    false: Number(tree.false),
    error: Number(tree.error),
    other: Number(tree.other),
    gap: text(tree.gap),
  };
}

export async function testRules(
  project: string,
  tests: string,
  source: string | null,
  signal: AbortSignal,
): Promise<TestRun> {
  const body: JsonObject = source === null ? { tests } : { tests, source };
  const tree = await call("POST", `${rulesPath(project)}:test`, { body, signal });
  const coverage = objectOf(tree.coverage) ?? {};
  return {
    release: text(tree.release),
    passed: Number(tree.passed),
    failed: Number(tree.failed),
    notRun: Number(tree.not_run),
    results: list(tree.results).map((item) => ({
      name: String(item.name),
      line: Number(item.line),
      passed: item.passed === true,
      failure: text(item.failure),
    })),
    coverage: {
      percent: Number(coverage.percent),
      statements: list(coverage.statements).map(decodeReached),
      expressions: list(coverage.expressions).map(decodeReached),
    },
  };
}
