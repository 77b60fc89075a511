/** What the server says of the rules being typed: as a list, and for the editor's gutter. */

import { IconAlertTriangle, IconCircleCheck, IconCircleX } from "@tabler/icons-react";
import { type ReactNode, useEffect, useState } from "react";
import { messageOf } from "../api/client";
import { checkRules, type Diagnostic } from "../api/rules";
import { spanOf } from "../rules/positions";
import type { Mark } from "./CodeEditor";

const CHECK_DELAY_MS = 350;

export interface Check {
  /** What was checked; places are of this text. */
  source: string;
  diagnostics: readonly Diagnostic[];
  error: unknown;
  pending: boolean;
}

/** Checks the source a moment after typing stops; an answer to an older text is dropped. */
export function useCheck(project: string, source: string): Check {
  const [check, setCheck] = useState<Check>({
    source: "",
    diagnostics: [],
    error: null,
    pending: true,
  });
  useEffect(() => {
    const control = new AbortController();
    setCheck((old) => ({ ...old, pending: true }));
    const timer = setTimeout(() => {
      checkRules(project, source, control.signal).then(
        (diagnostics) => setCheck({ source, diagnostics, error: null, pending: false }),
        (error: unknown) => {
          if (!control.signal.aborted) setCheck({ source, diagnostics: [], error, pending: false });
        },
      );
    }, CHECK_DELAY_MS);
    return () => {
      clearTimeout(timer);
      control.abort();
    };
  }, [project, source]);
  return check;
}

export function marksOf(check: Check): Mark[] {
  return check.diagnostics.map((item) => ({
    ...spanOf(check.source, item.line, item.column, item.endColumn),
    severity: item.severity,
    message: item.hint === null ? item.message : `${item.message} (${item.hint})`,
  }));
}

export function ProblemsPane({
  check,
  onJump,
}: {
  check: Check;
  onJump: (item: Diagnostic) => void;
}): ReactNode {
  return (
    <div className="pane-body">
      {check.error !== null && <p className="note error-text">{messageOf(check.error)}</p>}
      {check.error === null && check.diagnostics.length === 0 && (
        <p className="note muted" role="status">
          {check.pending ? (
            "Checking…"
          ) : (
            <>
              <IconCircleCheck size={16} color="var(--good)" aria-hidden /> No problems found.
            </>
          )}
        </p>
      )}
      <ul className="problems">
        {check.diagnostics.map((item, index) => (
          <li key={`${index} ${item.line}:${item.column}`}>
            <button
              type="button"
              className="bare"
              data-severity={item.severity}
              onClick={() => onJump(item)}
            >
              {item.severity === "error" ? (
                <IconCircleX aria-label="Error" />
              ) : (
                <IconAlertTriangle aria-label="Warning" />
              )}
              <span>
                {item.message}
                {item.hint !== null && <span className="muted hint">{item.hint}</span>}
                <span className="muted small mono where">
                  line {item.line}, column {item.column}
                  {item.code !== null && ` · ${item.code}`}
                </span>
              </span>
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}
