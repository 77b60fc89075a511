/** The answer to a query: documents page by page as a table or JSON, or numbers; and its cost. */

import { Button, SegmentedControl } from "@mantine/core";
import { IconChevronLeft, IconChevronRight, IconFileOff } from "@tabler/icons-react";
import { type ReactNode, useMemo } from "react";
import type { Document } from "../api/listen";
import type { Answer } from "../api/queries";
import type { AggregateDraft } from "../model/builder";
import { columnsOf } from "../model/columns";
import { textOfValue } from "../model/inputs";
import { type JsonObject, writeJson } from "../model/json";
import { splitPath } from "../model/paths";
import { dataHash } from "../model/routes";
import { encodeFields, type Fields } from "../model/values";
import { navigate } from "../navigation";
import { Copy } from "./controls";
import { ExplainPanel } from "./ExplainPanel";
import { Empty } from "./feedback";
import { ValueCell } from "./ValueView";

export type Shown = "table" | "json" | "explain";

export function DocumentResults({
  project,
  database,
  answer,
  asked,
  isGroup,
  page,
  first,
  shown,
  busy,
  onShown,
  onPage,
}: {
  project: string;
  database: string;
  answer: Answer;
  /** The query that was asked. */
  asked: JsonObject;
  isGroup: boolean;
  /** Which page it is, from 0. */
  page: number;
  /** The place of its first document in the whole answer, from 1. */
  first: number;
  shown: Shown;
  busy: boolean;
  onShown: (shown: Shown) => void;
  onPage: (page: number) => void;
}): ReactNode {
  const { documents, explained } = answer;
  return (
    <>
      <div className="pane-head">
        <SegmentedControl
          aria-label="Show the answer as"
          data={[
            { value: "table", label: "Table" },
            { value: "json", label: "JSON" },
            { value: "explain", label: "Explain" },
          ]}
          value={shown}
          onChange={(value) => onShown(value as Shown)}
        />
        <span className="grow" />
        {explained !== null && (
          <span className="muted small truncate wide-only" title="Explain tells more">
            {explained.entriesScanned.toLocaleString("en")} scanned ·{" "}
            {(explained.seconds * 1000).toFixed(1)} ms
          </span>
        )}
      </div>
      <div className="pane-body" data-stale={busy || undefined}>
        {shown === "explain" && explained !== null && (
          <ExplainPanel explained={explained} asked={asked} project={project} database={database} />
        )}
        {shown === "json" && <JsonResults documents={documents} />}
        {shown === "table" &&
          (documents.length === 0 ? (
            <Empty icon={<IconFileOff />} title="No document matches">
              Filters compare values of one type only, and ordering leaves out documents without the
              field.
            </Empty>
          ) : (
            <ResultTable
              project={project}
              database={database}
              documents={documents}
              isGroup={isGroup}
            />
          ))}
      </div>
      <nav className="pane-foot" aria-label="Pages">
        <span className="grow" role="status">
          {documents.length === 0
            ? "No documents"
            : `${first.toLocaleString("en")} to ${(first + documents.length - 1).toLocaleString("en")}`}
          {documents.length > 0 && answer.nextPageToken === null && ", the last"}
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
    </>
  );
}

function ResultTable({
  project,
  database,
  documents,
  isGroup,
}: {
  project: string;
  database: string;
  documents: readonly Document[];
  isGroup: boolean;
}): ReactNode {
  const names = useMemo(() => columnsOf(documents), [documents]);
  return (
    <table className="grid documents-grid">
      <caption className="sr-only">The documents of the answer</caption>
      <thead>
        <tr>
          <th scope="col">
            <span>Document id</span>
          </th>
          {names.map((name) => (
            <th key={name} scope="col">
              <span className="truncate" style={{ maxWidth: 220 }} title={name}>
                {name}
              </span>
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {documents.map((item) => {
          const segments = splitPath(item.path);
          const href = dataHash(project, database, segments);
          return (
            <tr
              key={item.path}
              onClick={(event) => {
                if (event.target instanceof HTMLElement && event.target.closest("a") === null)
                  navigate(href);
              }}
            >
              <td>
                <a href={href} title={item.path}>
                  {isGroup ? item.path : segments.at(-1)}
                </a>
              </td>
              {names.map((name) => (
                <td key={name}>
                  <ValueCell value={item.fields.get(name)} />
                </td>
              ))}
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}

function JsonResults({ documents }: { documents: readonly Document[] }): ReactNode {
  const text = useMemo(
    () =>
      writeJson(
        documents.map((item) => ({ path: item.path, fields: encodeFields(item.fields, true) })),
        2,
      ),
    [documents],
  );
  return (
    <div className="json-results">
      <Copy text={text} label="Copy the JSON" />
      <pre tabIndex={0}>{text}</pre>
    </div>
  );
}

export function NumberResults({
  asked,
  numbers,
}: {
  asked: readonly AggregateDraft[];
  numbers: Fields;
}): ReactNode {
  return (
    <div className="pane-body">
      <dl className="figures" aria-label="Numbers">
        {asked.map(({ op, field }, at) => {
          const value = numbers.get(`field_${at + 1}`);
          return (
            <div key={at}>
              <dt>
                {op} {op !== "count" && <code>{field}</code>}
              </dt>
              <dd>{value === undefined || value.kind === "null" ? "none" : textOfValue(value)}</dd>
            </div>
          );
        })}
      </dl>
      {asked.some(({ op }) => op !== "count") && (
        <p className="note muted">
          A document that lacks one of these fields is in none of the numbers, not even in a count.
        </p>
      )}
    </div>
  );
}
