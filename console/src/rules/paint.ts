/** What is shown of an explanation or of coverage in the text of the rules. Pure. */

import type { Attempt, Reached, Step } from "../api/trials";
import { lineSpans, type Span, spanOf } from "./positions";

/** How a stretch of the text is painted, and what a pointer over it is told. */
export interface Paint extends Span {
  tone: "good" | "bad" | "part";
  title: string;
}

const SPACE = /\s/;

/**
 * Where a sub-expression stands: it begins at a line and column, and its text is the source with
 * runs of white space made one blank. Of one that was cut, or is elsewhere by now, the line's rest.
 */
export function spanOfText(source: string, line: number, column: number, text: string): Span {
  const { from } = spanOf(source, line, column, column);
  let to = from;
  for (const character of text) {
    if (SPACE.test(character)) continue;
    while (to < source.length && SPACE.test(source[to] as string)) to += 1;
    if (!source.startsWith(character, to)) {
      const end = source.indexOf("\n", from);
      return { from, to: end < 0 ? source.length : end };
    }
    to += character.length;
  }
  return { from, to };
}

/** Of stretches that lie within each other, the innermost one is what is seen. */
export function flatten(paints: readonly Paint[], length: number): Paint[] {
  const order = [...paints].sort((a, b) => b.to - b.from - (a.to - a.from));
  const top = new Int32Array(length).fill(-1);
  order.forEach((paint, index) => {
    top.fill(index, Math.max(0, paint.from), Math.min(length, paint.to));
  });
  const found: Paint[] = [];
  let from = 0;
  for (let at = 1; at <= length; at += 1) {
    if (at < length && top[at] === top[from]) continue;
    const paint = order[top[from] as number];
    if (paint !== undefined) found.push({ ...paint, from, to: at });
    from = at;
  }
  return found;
}

/** The blanks at the ends of lines belong to no stretch. */
function withoutIndents(source: string, paints: readonly Paint[]): Paint[] {
  return paints.flatMap((paint) => {
    const lines = source.slice(paint.from, paint.to).split("\n");
    let from = paint.from;
    return lines.flatMap((line, at) => {
      const start = from + (at === 0 ? 0 : line.length - line.trimStart().length);
      const end = from + (at === lines.length - 1 ? line : line.trimEnd()).length;
      from += line.length + 1;
      return start < end ? [{ ...paint, from: start, to: end }] : [];
    });
  });
}

function timesOf(one: Reached): string {
  const parts = [
    [one.true, "true"],
    [one.false, "false"],
    [one.error, "error"],
    [one.other, "another value"],
  ] as const;
  const told = parts.filter(([count]) => count > 0).map(([count, what]) => `${what} ${count}×`);
  return told.length === 0 ? "never evaluated" : told.join(", ");
}

function toneOf(one: Reached): Paint["tone"] {
  if (one.gap === null) return "good";
  return one.true + one.false + one.error + one.other === 0 ? "bad" : "part";
}

/** What has no gap, but decided nothing either way: it looks as what it is part of. */
function isPlain(one: Reached): boolean {
  return one.gap === null && (one.true === 0 || one.false + one.error === 0);
}

/** Covered, partly covered and not covered sub-expressions. */
export function paintCoverage(source: string, expressions: readonly Reached[]): Paint[] {
  const paints = expressions
    .filter((one) => !isPlain(one))
    .map((one) => ({
      ...spanOfText(source, one.line, one.column, one.text),
      tone: toneOf(one),
      title:
        one.gap === null || one.gap === timesOf(one)
          ? timesOf(one)
          : `${one.gap} (${timesOf(one)})`,
    }));
  return withoutIndents(source, flatten(paints, source.length));
}

/** How an allow statement stands: by its own count and by what its line holds. */
export function statementTone(one: Reached): Paint["tone"] {
  if (one.true + one.false + one.error === 0) return "bad";
  return one.true > 0 ? "good" : "part";
}

/** A lamp per line that has an allow statement. */
export function coverageLines(statements: readonly Reached[]): Map<number, Paint["tone"]> {
  const lines = new Map<number, Paint["tone"]>();
  for (const one of statements) {
    const tone = statementTone(one);
    const old = lines.get(one.line);
    lines.set(one.line, old === undefined || old === tone ? tone : "part");
  }
  return lines;
}

function stepTone(step: Step): Paint["tone"] | null {
  if (step.error !== null) return "part";
  if (step.value === "true") return "good";
  return step.value === "false" ? "bad" : null;
}

/** What was true, false and in error in one evaluation. */
export function paintAttempts(source: string, attempts: readonly Attempt[]): Paint[] {
  const paints: Paint[] = [];
  for (const step of attempts.flatMap((attempt) => attempt.steps)) {
    const tone = stepTone(step);
    if (tone === null) continue;
    const span = spanOfText(source, step.line, step.column, step.text);
    paints.push({ ...span, tone, title: step.error ?? String(step.value) });
  }
  return withoutIndents(source, flatten(paints, source.length));
}

/** Steps without those that only lead to the next, such as `request.auth` of `request.auth.uid`. */
export function tellingSteps(steps: readonly Step[]): Step[] {
  const parents: Step[] = [];
  return steps.filter((step) => {
    parents.length = step.depth;
    const parent = parents.at(-1);
    parents.push(step);
    return parent === undefined || parent.error !== null || !leadsTo(step.text, parent.text);
  });
}

function leadsTo(inner: string, outer: string): boolean {
  return outer.startsWith(`${inner}.`) && !/[(\s]/.test(outer.slice(inner.length));
}

/** The span of a whole line, without the blanks that it begins with. */
export function spanOfLine(source: string, line: number): Span {
  const spans = lineSpans(source);
  const { from, to } = spans[Math.min(Math.max(line, 1), spans.length) - 1] as Span;
  const text = source.slice(from, to);
  return { from: from + text.length - text.trimStart().length, to };
}
