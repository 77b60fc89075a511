/** How a query was answered: by which ranges of which index, and what that read. */

import type { ReactNode } from "react";
import type { Definition } from "../api/indexes";
import type { Explained, Scan } from "../api/queries";
import { askedDocuments } from "../model/asked";
import { type CursorDraft, cursorNames, decodeDraft } from "../model/builder";
import type { JsonObject } from "../model/json";
import { databaseHash } from "../model/routes";
import { Marked } from "../visible/Marked";

const KINDS: Readonly<Record<string, string>> = {
  index: "Index",
  near: "Places of an index, nearest first",
  words: "Entries of the words",
  names: "Names of the collection, in order",
  document: "One document, by its name",
  collection: "Every document of the collection",
  total: "The count that is kept of the collection",
};

export function ExplainPanel({
  explained,
  asked,
  project,
  database,
}: {
  explained: Explained;
  /** The query that was asked. */
  asked: JsonObject;
  project: string;
  database: string;
}): ReactNode {
  const wasted = explained.entriesScanned - explained.returned;
  return (
    <div className="explain">
      <dl className="figures">
        <Figure name="Time" value={timeText(explained.seconds)} />
        <Figure name="Entries scanned" value={explained.entriesScanned.toLocaleString("en")} />
        <Figure name="Keys counted" value={explained.keysCounted.toLocaleString("en")} />
        <Figure name="Documents read" value={explained.documentsRead.toLocaleString("en")} />
        <Figure name="Returned" value={explained.returned.toLocaleString("en")} />
      </dl>
      {wasted > Math.max(100, explained.returned * 2) && (
        <p className="note boxed">
          {`${wasted.toLocaleString("en")} entries were looked at and not returned.`}
        </p>
      )}
      {explained.hints.map((hint) => (
        <p className="note boxed" key={hint}>
          <Prose text={hint} />
        </p>
      ))}
      <Bounds asked={asked} />
      <h3>Plan</h3>
      <ol className="scans">
        {explained.scans.map((scan, at) => (
          <li key={at}>
            <ScanText scan={scan} />
          </li>
        ))}
      </ol>
      {explained.missing.length > 0 && (
        <>
          <h3>Indexes that would have spared reading the collection</h3>
          <ul className="scans">
            {explained.missing.map((item, at) => (
              <li key={at}>
                <DefinitionText definition={item} />
                <span className="badge" data-tone={item.building ? "good" : "warn"}>
                  {item.building ? "being built" : "made when such a query comes again"}
                </span>
              </li>
            ))}
          </ul>
        </>
      )}
      <p className="muted small">
        <a className="link" href={databaseHash(project, "indexes", database)}>
          All indexes
        </a>
      </p>
    </div>
  );
}

/** The server's sentences, in which names stand between backticks. */
function Prose({ text }: { text: string }): ReactNode {
  return text
    .split("`")
    .map((part, at) =>
      at % 2 === 1 ? <code key={at}>{part}</code> : <Marked key={at} text={part} />,
    );
}

/** Where the answer starts and ends, if that was asked. */
function Bounds({ asked }: { asked: JsonObject }): ReactNode {
  const { orders, start, end, where } = decodeDraft(askedDocuments(asked));
  if (start === null && end === null) return null;
  const names = cursorNames({ orders, where });
  const text = (cursor: CursorDraft) =>
    cursor.values
      .map(({ type, text }, at) => `${names[at] ?? "?"} = ${type === "null" ? "null" : text}`)
      .join(", ");
  return (
    <>
      <h3>Bounds</h3>
      <ul className="scans" aria-label="Bounds">
        {start !== null && (
          <li>
            <strong>{start.isIncluded ? "Starts at" : "Starts after"}</strong>
            <code className="breaks">{text(start)}</code>
          </li>
        )}
        {end !== null && (
          <li>
            <strong>{end.isIncluded ? "Ends at" : "Ends before"}</strong>
            <code className="breaks">{text(end)}</code>
          </li>
        )}
      </ul>
    </>
  );
}

function Figure({ name, value }: { name: string; value: string }): ReactNode {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

function ScanText({ scan }: { scan: Scan }): ReactNode {
  return (
    <>
      <strong>{KINDS[scan.kind] ?? scan.kind}</strong>
      {scan.index !== null && (
        <>
          <code className="muted">#{scan.index.id}</code>
          <DefinitionText definition={scan.index} />
        </>
      )}
      <span className="muted">
        {scan.ranges === 1 ? "one range" : `${scan.ranges.toLocaleString("en")} ranges`}
        {scan.direction === "desc" && ", from its end"}
      </span>
      <span className="badge" data-tone={scan.exact ? "good" : "warn"}>
        {scan.exact ? "exact" : "documents are checked after they are read"}
      </span>
    </>
  );
}

/** An index in one line: collection, scope and fields. */
export function DefinitionText({ definition }: { definition: Definition }): ReactNode {
  return (
    <span className="definition">
      <code>{definition.collection}</code>
      {definition.scope !== "collection" && (
        <span className="badge">
          {definition.scope === "group" ? "group" : "groups below a document"}
        </span>
      )}
      {definition.fields.map((field, at) => (
        <code key={at}>
          {field.field}{" "}
          {field.kind !== "plain" ? field.kind : field.direction === "desc" ? "↓" : "↑"}
        </code>
      ))}
    </span>
  );
}

function timeText(seconds: number): string {
  if (seconds >= 1) return `${seconds.toFixed(2)} s`;
  return `${(seconds * 1000).toFixed(seconds < 0.01 ? 2 : 0)} ms`;
}
