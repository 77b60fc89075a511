import type { ReactNode } from "react";
import type { Finding } from "../api/schemas";
import { splitPath } from "../model/paths";
import { dataHash } from "../model/routes";

/** Stored documents that do not fit a schema, with the path of each failing field. */
export function SchemaFindings({
  project,
  database,
  found,
}: {
  project: string;
  database: string;
  found: readonly Finding[];
}): ReactNode {
  return (
    <ul className="plan" tabIndex={0} aria-label="Documents that do not fit">
      {found.map((one) => (
        <li key={one.document}>
          <a
            className="link"
            href={dataHash(project, database, splitPath(one.document))}
            target="_blank"
            rel="noreferrer"
          >
            <code>{one.document}</code>
          </a>
          {one.violations.map((violation, at) => (
            <div key={at} className="small">
              {violation.field !== "" && <code>{violation.field}</code>} {violation.message}
            </div>
          ))}
        </li>
      ))}
    </ul>
  );
}
