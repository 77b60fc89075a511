/** Why a request was allowed or denied: statements, steps with their values, lookups, cost. */

import {
  IconCheck,
  IconChevronRight,
  IconCircleCheck,
  IconCircleX,
  IconEqual,
  IconX,
} from "@tabler/icons-react";
import { type ReactNode, useEffect, useMemo, useRef, useState } from "react";
import type {
  Attempt,
  Explained,
  Lookup,
  Reason,
  Step,
  TrialAnswer,
  TrialResult,
} from "../api/trials";
import { fieldsText } from "../model/trials";
import { spanOfLine, spanOfText, tellingSteps } from "../rules/paint";
import { type Span, spanOf } from "../rules/positions";

const STEPS_SHOWN = 300;
// Longer values have a line of their own.
const CAME_SHORT = 26;

/** The rules that were asked, if they are at hand, and how a place in them is shown. */
export interface Place {
  source?: string | undefined;
  onJump?: ((span: Span) => void) | undefined;
}

export function Explanation({ answer, ...place }: { answer: TrialAnswer } & Place): ReactNode {
  const top = useRef<HTMLElement>(null);
  useEffect(() => {
    top.current?.scrollIntoView({ block: "start" });
  }, []);
  const { allowed, results, lookedUp } = answer;
  return (
    <section className="explanation" aria-label="Explanation" ref={top}>
      {lookedUp === null ? (
        <>
          <Verdict allowed={allowed} isStatus>
            <Subject result={results[0]} {...place} />
          </Verdict>
          <Why told={results[0]} expressionsMax={results[0].expressionsMax} {...place} />
        </>
      ) : (
        <>
          <Verdict allowed={allowed} isStatus>
            <span className="muted">
              {" "}
              a commit of {results.length} writes, {lookedUp.count} of {lookedUp.most} look-ups
            </span>
          </Verdict>
          {lookedUp.count > lookedUp.most && (
            <p className="reason">
              All writes of a commit together may look up {lookedUp.most} documents.
            </p>
          )}
          {results.map((result) => (
            <details key={result.subject} className="write" open={!result.allowed}>
              <summary>
                <Verdict allowed={result.allowed}>
                  <Subject result={result} {...place} />
                </Verdict>
              </summary>
              <Why told={result} expressionsMax={result.expressionsMax} {...place} />
            </details>
          ))}
        </>
      )}
    </section>
  );
}

function Verdict({
  allowed,
  isStatus = false,
  children,
}: {
  allowed: boolean;
  isStatus?: boolean;
  children: ReactNode;
}): ReactNode {
  return (
    <div className="verdict" data-allowed={allowed} {...(isStatus ? { role: "status" } : {})}>
      {allowed ? <IconCircleCheck aria-hidden /> : <IconCircleX aria-hidden />}
      <span className="grow">
        <strong>{allowed ? "Allowed" : "Denied"}</strong>
        {children}
      </span>
    </div>
  );
}

/** What was asked, and by which statement it is granted. */
function Subject({ result, ...place }: { result: TrialResult } & Place): ReactNode {
  const decided = result.attempts.find((attempt) => attempt.outcome === "granted");
  return (
    <>
      <span className="muted breaks"> {result.subject}</span>
      {decided !== undefined && (
        <span className="by">
          by <LineLink line={decided.line} {...place} /> allow {decided.methods.join(", ")}
        </span>
      )}
    </>
  );
}

/** Reasons, statements with their steps, look-ups and cost. */
export function Why({
  told,
  expressionsMax,
  ...place
}: { told: Explained; expressionsMax?: number } & Place): ReactNode {
  return (
    <>
      {told.reasons.map((reason, index) => (
        <ReasonView key={`${index} ${reason.line}`} reason={reason} {...place} />
      ))}
      {told.attempts.length > 0 && <h3>Statements that were asked</h3>}
      {told.attempts.map((attempt, index) => (
        <AttemptView key={`${index} ${attempt.line}`} attempt={attempt} {...place} />
      ))}
      <Lookups lookups={told.lookups} />
      <p className="muted small cost">Cost: {costOf(told, expressionsMax)}.</p>
    </>
  );
}

/** The proof of a list does not count expressions. */
function costOf({ expressions, lookups }: Explained, most?: number): string {
  const looked = `${lookups.length} look-up${lookups.length === 1 ? "" : "s"}`;
  if (expressions === 0) return looked;
  const bound = most === undefined ? "" : ` of ${most.toLocaleString("en")}`;
  return `${expressions.toLocaleString("en")}${bound} expressions, ${looked}`;
}

function LineLink({ line, source, onJump }: { line: number } & Place): ReactNode {
  if (source === undefined || onJump === undefined) return <>line {line}</>;
  return (
    <button type="button" className="bare link" onClick={() => onJump(spanOfLine(source, line))}>
      line {line}
    </button>
  );
}

function ReasonView({ reason, source, onJump }: { reason: Reason } & Place): ReactNode {
  const span = source === undefined || reason.line === 0 ? null : placeOf(reason, source);
  return (
    <div className="reason">
      <p className="breaks">{reason.message}</p>
      {source !== undefined && span !== null && <Snippet source={source} span={span} />}
      {reason.values.map(([text, value]) => (
        <p key={text} className="mono small breaks">
          {text} <span className="muted">is</span> {value}
        </p>
      ))}
      {reason.hint !== null && <p className="small breaks">Hint: {reason.hint}</p>}
      {span !== null && onJump !== undefined && (
        <button type="button" className="bare link small" onClick={() => onJump(span)}>
          Show line {reason.line}
        </button>
      )}
    </div>
  );
}

function placeOf(reason: Reason, source: string): Span {
  return spanOf(source, reason.line, reason.column, reason.endColumn);
}

/** The line of the rules, with what is to blame. */
function Snippet({ source, span }: { source: string; span: Span }): ReactNode {
  const start = source.lastIndexOf("\n", span.from - 1) + 1;
  const end = source.indexOf("\n", span.from);
  const line = source.slice(start, end < 0 ? source.length : end);
  const [from, to] = [span.from - start, Math.min(span.to - start, line.length)];
  return (
    <pre className="snippet">
      {line.slice(0, from).trimStart()}
      <mark>{line.slice(from, to)}</mark>
      {line.slice(to)}
    </pre>
  );
}

const OUTCOMES: Readonly<Record<Attempt["outcome"], "good" | "warn" | "danger" | undefined>> = {
  granted: "good",
  false: "danger",
  error: "warn",
  "not proved": "danger",
  "not tried": undefined,
};

function AttemptView({ attempt, ...place }: { attempt: Attempt } & Place): ReactNode {
  const [open, setOpen] = useState(attempt.outcome !== "not tried");
  const [all, setAll] = useState(false);
  const telling = useMemo(() => tellingSteps(attempt.steps), [attempt]);
  const steps = all ? telling : telling.slice(0, STEPS_SHOWN);
  const hasMore = steps.length < telling.length;
  return (
    <div className="attempt">
      <div className="row">
        <button
          type="button"
          className="bare fold"
          aria-expanded={open}
          aria-label={`Steps of line ${attempt.line}`}
          disabled={attempt.steps.length === 0}
          onClick={() => setOpen(!open)}
        >
          <IconChevronRight aria-hidden />
        </button>
        <span className="badge" data-tone={OUTCOMES[attempt.outcome]}>
          {attempt.outcome}
        </span>
        <span className="grow breaks">
          allow {attempt.methods.join(", ")} <LineLink line={attempt.line} {...place} />
        </span>
      </div>
      <p className="muted small mono breaks match">{attempt.match}</p>
      {attempt.captures.length > 0 && (
        <p className="muted small mono breaks match">
          {attempt.captures.map(([name, value]) => `${name} = ${value}`).join(", ")}
        </p>
      )}
      {open && (
        <ol className="steps">
          {steps.map((step, index) => (
            <StepView key={`${index} ${step.depth}`} step={step} {...place} />
          ))}
        </ol>
      )}
      {open && hasMore && (
        <button type="button" className="bare link small" onClick={() => setAll(true)}>
          Show {telling.length - steps.length} more steps
        </button>
      )}
    </div>
  );
}

function toneOf(step: Step): string {
  if (step.error !== null) return "error";
  return step.value === "true" || step.value === "false" ? step.value : "value";
}

function StepView({ step, source, onJump }: { step: Step } & Place): ReactNode {
  const tone = toneOf(step);
  const came = step.error === null ? (step.value ?? "") : `error: ${step.error}`;
  return (
    <li style={{ "--depth": Math.min(step.depth, 12) } as React.CSSProperties} data-tone={tone}>
      <button
        type="button"
        className="bare"
        title={`Line ${step.line}`}
        disabled={source === undefined || onJump === undefined}
        onClick={() =>
          source !== undefined && onJump?.(spanOfText(source, step.line, step.column, step.text))
        }
      >
        <span className="mark" aria-hidden>
          {tone === "true" ? <IconCheck /> : tone === "value" ? <IconEqual /> : <IconX />}
        </span>
        <code className="breaks">{step.text}</code>
        <code className="came breaks" data-long={came.length > CAME_SHORT || undefined}>
          {came}
        </code>
      </button>
    </li>
  );
}

function Lookups({ lookups }: { lookups: readonly Lookup[] }): ReactNode {
  if (lookups.length === 0) return null;
  return (
    <>
      <h3>Documents that were looked up</h3>
      {lookups.map((one) => (
        <details key={`${one.database} ${one.path} ${one.after}`} className="lookup">
          <summary>
            <code className="breaks">/{one.path}</code>
            <span className="muted small">
              {one.after && " after the write"} {one.exists ? "exists" : "does not exist"}
            </span>
          </summary>
          {one.fields !== null && <pre className="mono">{fieldsText(one.fields)}</pre>}
        </details>
      ))}
    </>
  );
}
