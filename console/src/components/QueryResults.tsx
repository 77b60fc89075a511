/** The answer to a query: documents or groups page by page, or numbers, as a table or JSON; and its
 * cost. */

import { Button, SegmentedControl } from "@mantine/core";
import { IconChevronLeft, IconChevronRight } from "@tabler/icons-react";
import { type ReactNode, useMemo } from "react";
import type { Answer, Explained } from "../api/queries";
import { showsOf } from "../model/asked";
import { type JsonObject, writeJson } from "../model/json";
import { encodeFields } from "../model/values";
import { Copy } from "./controls";
import { ExplainPanel } from "./ExplainPanel";
import { type Result, rowCountOf } from "./queryRun";
import { QueryRows } from "./QueryRows";

export type Shown = "table" | "json" | "explain";

export function QueryResults({
  project,
  database,
  result,
  shown,
  busy,
  onShown,
  onPage,
}: {
  project: string;
  database: string;
  result: Result;
  shown: Shown;
  busy: boolean;
  onShown: (shown: Shown) => void;
  onPage: (page: number) => void;
}): ReactNode {
  const { asked, answer } = result;
  const { explained } = answer;
  const isNumbers = showsOf(asked) === "numbers";
  return (
    <>
      <div className="pane-head">
        <SegmentedControl
          aria-label="Show the answer as"
          data={[
            { value: "table", label: isNumbers ? "Numbers" : "Table" },
            { value: "json", label: "JSON" },
            { value: "explain", label: "Explain" },
          ]}
          value={shown}
          onChange={(value) => onShown(value as Shown)}
        />
        <span className="grow" />
        {explained !== null && (
          <span className="muted small truncate wide-only" title="Explain tells more">
            {costOf(explained)}
          </span>
        )}
      </div>
      <div className="pane-body" data-stale={busy || undefined}>
        {shown === "explain" && explained !== null && (
          <ExplainPanel
            explained={explained}
            asked={asked.query}
            project={project}
            database={database}
          />
        )}
        {shown === "json" && <JsonResults answer={answer} />}
        {shown === "table" && <QueryRows project={project} database={database} result={result} />}
      </div>
      {!isNumbers && <Pager result={result} busy={busy} onPage={onPage} />}
    </>
  );
}

/** What it cost, in one line. */
function costOf({ documentsRead, entriesScanned, keysCounted, seconds }: Explained): string {
  const parts = [`${documentsRead.toLocaleString("en")} read`];
  if (entriesScanned > 0) parts.push(`${entriesScanned.toLocaleString("en")} scanned`);
  if (keysCounted > 0) parts.push(`${keysCounted.toLocaleString("en")} counted`);
  return [...parts, `${(seconds * 1000).toFixed(1)} ms`].join(" · ");
}

function Pager({
  result: { answer, page, first },
  busy,
  onPage,
}: {
  result: Result;
  busy: boolean;
  onPage: (page: number) => void;
}): ReactNode {
  const count = rowCountOf(answer);
  const last = first + count - 1;
  return (
    <nav className="pane-foot" aria-label="Pages">
      <span className="grow" role="status">
        {count === 0
          ? `No ${answer.kind}`
          : `${first.toLocaleString("en")} to ${last.toLocaleString("en")}`}
        {count > 0 && answer.nextPageToken === null && ", the last"}
      </span>
      <Button
        size="compact-sm"
        variant="default"
        disabled={page === 0 || busy}
        leftSection={<IconChevronLeft size={14} />}
        onClick={() => onPage(page - 1)}
      >
        Previous
      </Button>
      <Button
        size="compact-sm"
        variant="default"
        disabled={answer.nextPageToken === null || busy}
        rightSection={<IconChevronRight size={14} />}
        onClick={() => onPage(page + 1)}
      >
        Next
      </Button>
    </nav>
  );
}

function JsonResults({ answer }: { answer: Answer }): ReactNode {
  const text = useMemo(() => writeJson(jsonOf(answer), 2), [answer]);
  return (
    <div className="json-results">
      <Copy text={text} label="Copy the JSON" />
      <pre tabIndex={0}>{text}</pre>
    </div>
  );
}

function jsonOf(answer: Answer): JsonObject[] {
  if (answer.kind === "documents")
    return answer.documents.map(({ path, fields }) => ({
      path,
      fields: encodeFields(fields, true),
    }));
  return answer.groups.map(({ values, results }) => ({
    ...(values.size === 0 ? {} : { group: encodeFields(values, true) }),
    results: encodeFields(results, true),
  }));
}
