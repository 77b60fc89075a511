/** Stored documents held to schemas that are not in force yet, as many as there are. */

import { Button } from "@mantine/core";
import { IconListCheck } from "@tabler/icons-react";
import { type ReactNode, useEffect, useRef, useState } from "react";
import { listDatabases } from "../api/admin";
import { checkSchemas, type Finding } from "../api/schemas";
import type { Json } from "../model/json";
import { readSchemas, type SchemaText } from "../model/schemas";
import { toastError } from "./feedback";
import { SchemaFindings } from "./SchemaFindings";

const WAITING_MS = 700;
const FOUND_MAX = 100;

interface Checked {
  database: string;
  checked: number;
  failed: number;
  found: Finding[];
  isDone: boolean;
}

/** Checks all that is stored, slice by slice, in every database. */
export function SchemaCheck({
  project,
  texts,
  disabled,
}: {
  project: string;
  texts: readonly SchemaText[];
  disabled: boolean;
}): ReactNode {
  const [results, setResults] = useState<readonly Checked[]>([]);
  const [isBusy, setBusy] = useState(false);
  const control = useRef<AbortController | null>(null);
  useEffect(() => () => control.current?.abort(), []);

  async function checkDatabase(
    database: string,
    schemas: Json[],
    done: readonly Checked[],
    signal: AbortSignal,
  ): Promise<Checked> {
    let result: Checked = { database, checked: 0, failed: 0, found: [], isDone: false };
    let token: string | null = null;
    for (;;) {
      const page = await checkSchemas(project, database, schemas, 1_000, token, signal);
      token = page.nextPageToken;
      result = {
        database,
        checked: result.checked + page.checked,
        failed: result.failed + page.failed,
        found: [...result.found, ...page.found].slice(0, FOUND_MAX),
        isDone: token === null && !page.isWaiting,
      };
      setResults([...done, result]);
      if (result.isDone || signal.aborted) return result;
      if (page.isWaiting) await new Promise((resolve) => setTimeout(resolve, WAITING_MS));
    }
  }

  async function run(): Promise<void> {
    const mine = new AbortController();
    control.current = mine;
    setBusy(true);
    setResults([]);
    try {
      const schemas = readSchemas(texts);
      const done: Checked[] = [];
      for (const database of await listDatabases(project)) {
        done.push(await checkDatabase(database, schemas, done, mine.signal));
        if (mine.signal.aborted) break;
      }
    } catch (error) {
      if (!mine.signal.aborted) toastError("The check broke off", error);
    }
    setBusy(false);
  }

  return (
    <div className="schema-check">
      <div className="row">
        <Button
          variant="default"
          leftSection={<IconListCheck size={15} />}
          disabled={disabled}
          loading={isBusy}
          onClick={run}
        >
          Check stored documents
        </Button>
        {isBusy && (
          <Button variant="default" onClick={() => control.current?.abort()}>
            Stop
          </Button>
        )}
      </div>
      {results.map((one) => (
        <div key={one.database} role="status">
          <p className="small">
            <code>{one.database}</code>
            {`: ${one.checked.toLocaleString("en")} checked, ${one.failed.toLocaleString("en")} do not fit${one.isDone ? "" : " so far"}`}
          </p>
          {one.found.length > 0 && (
            <SchemaFindings project={project} database={one.database} found={one.found} />
          )}
        </div>
      ))}
    </div>
  );
}
