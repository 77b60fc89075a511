/** What a query answered, as rows: documents, groups of equal values, or numbers. */

import { IconFileOff } from "@tabler/icons-react";
import { type ReactNode, useMemo } from "react";
import type { Document } from "../api/listen";
import type { Group } from "../api/queries";
import { type AggregateDraft, decodeDraft } from "../model/builder";
import { columnsOf } from "../model/columns";
import { textOfValue } from "../model/inputs";
import { distanceText } from "../model/quantities";
import { splitPath } from "../model/paths";
import { dataHash } from "../model/routes";
import type { Fields } from "../model/values";
import { navigate } from "../navigation";
import { Empty } from "./feedback";
import { type Result, rowCountOf } from "./queryRun";
import { ValueCell } from "./ValueView";

export function QueryRows({
  project,
  database,
  result: { asked, answer },
}: {
  project: string;
  database: string;
  result: Result;
}): ReactNode {
  if (rowCountOf(answer) === 0)
    return (
      <Empty icon={<IconFileOff />} title="No document matches">
        Filters compare values of one type only, and ordering or grouping leaves out documents
        without the field.
      </Empty>
    );
  if (answer.kind === "documents")
    return (
      <ResultTable
        project={project}
        database={database}
        documents={answer.documents}
        isGroup={asked.query.group === true}
      />
    );
  const numbers = decodeDraft(asked).aggregates;
  if (asked.groupBy.length === 0)
    return <Numbers numbers={numbers} results={answer.groups[0]?.results ?? new Map()} />;
  return <GroupTable groupBy={asked.groupBy} numbers={numbers} groups={answer.groups} />;
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
  const isNear = documents[0]?.distanceMeters !== undefined;
  return (
    <table className="grid documents-grid">
      <caption className="sr-only">The documents of the answer</caption>
      <thead>
        <tr>
          <th scope="col">
            <span>Document id</span>
          </th>
          {isNear && (
            <th scope="col">
              <span>Distance</span>
            </th>
          )}
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
              {isNear && <td>{distanceText(item.distanceMeters ?? 0)}</td>}
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

/** Groups of equal values, with the numbers of each. */
function GroupTable({
  groupBy,
  numbers,
  groups,
}: {
  groupBy: readonly string[];
  numbers: readonly AggregateDraft[];
  groups: readonly Group[];
}): ReactNode {
  return (
    <table className="grid still groups-grid">
      <caption className="sr-only">The groups of the answer</caption>
      <thead>
        <tr>
          {groupBy.map((field) => (
            <th key={field} scope="col">
              <span className="truncate">{field}</span>
            </th>
          ))}
          {numbers.map((number, at) => (
            <th key={at} scope="col">
              <NumberName number={number} />
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {groups.map(({ values, results }, row) => (
          <tr key={row}>
            {groupBy.map((field) => (
              <td key={field}>
                <ValueCell value={values.get(field)} />
              </td>
            ))}
            {numbers.map((_, at) => (
              <td key={at}>
                <ValueCell value={results.get(aliasOf(at))} />
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function NumberName({ number: { op, field } }: { number: AggregateDraft }): ReactNode {
  if (op === "count") return <span>count</span>;
  return (
    <span>
      {op} <code>{field}</code>
    </span>
  );
}

/** As the server calls them. */
function aliasOf(at: number): string {
  return `field_${at + 1}`;
}

function Numbers({
  numbers,
  results,
}: {
  numbers: readonly AggregateDraft[];
  results: Fields;
}): ReactNode {
  return (
    <>
      <dl className="figures" aria-label="Numbers">
        {numbers.map((number, at) => {
          const value = results.get(aliasOf(at));
          return (
            <div key={at}>
              <dt>
                <NumberName number={number} />
              </dt>
              <dd>{value === undefined || value.kind === "null" ? "none" : textOfValue(value)}</dd>
            </div>
          );
        })}
      </dl>
      {numbers.some(({ op }) => op !== "count") && (
        <p className="note muted">
          A document that lacks one of these fields is in none of the numbers, not even in a count.
        </p>
      )}
    </>
  );
}
