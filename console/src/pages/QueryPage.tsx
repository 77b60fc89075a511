/** The query builder: what is asked on one side, the answer and its cost on the other. */

import "../data.css";
import { Menu, NativeSelect } from "@mantine/core";
import {
  IconBrandPython,
  IconCopy,
  IconDotsVertical,
  IconEraser,
  IconListSearch,
  IconPencil,
  IconTerminal2,
} from "@tabler/icons-react";
import { type ReactNode, useEffect, useMemo, useRef, useState } from "react";
import { messageOf } from "../api/client";
import { countDocuments } from "../api/documents";
import { BulkErase } from "../components/BulkErase";
import { BulkUpdate } from "../components/BulkUpdate";
import { IconAction } from "../components/controls";
import { DatabaseMenu } from "../components/DatabaseMenu";
import { Empty, Failed, Loading, toast, toastError } from "../components/feedback";
import { QueryForm } from "../components/QueryForm";
import { QueryResults, type Shown } from "../components/QueryResults";
import { useQueryRun } from "../components/queryRun";
import { useRunKey } from "../components/runKey";
import { type Asked, writeAsked } from "../model/asked";
import { decodeDraft, EMPTY_QUERY, encodeDraft, type QueryDraft } from "../model/builder";
import { columnsOf } from "../model/columns";
import type { JsonObject } from "../model/json";
import { fieldSegment } from "../model/paths";
import { curlOf, pythonOf } from "../model/querycode";
import { queryHash, type Route } from "../model/routes";
import { replaceHash } from "../navigation";

const SIZES = ["50", "100", "500"];

/** What is about to be done to every document of a query; `count`: so many match, if known. */
interface Bulk {
  does: "update" | "erase";
  query: JsonObject;
  count: number | null;
}

export function QueryPage({ route }: { route: Extract<Route, { page: "query" }> }): ReactNode {
  const { project, database, asked } = route;
  const [draft, setDraft] = useState<QueryDraft>(() =>
    asked === null ? EMPTY_QUERY : decodeDraft(asked),
  );
  const [size, setSize] = useState(50);
  const [shown, setShown] = useState<Shown>("table");
  const [wrong, setWrong] = useState<string | null>(null);
  const [bulk, setBulk] = useState<Bulk | null>(null);
  const pane = useRef<HTMLElement>(null);
  const { result, failure, isBusy, ...query } = useQueryRun(project, database);
  const names = useMemo(() => {
    const documents = result?.answer.kind === "documents" ? result.answer.documents : [];
    return columnsOf(documents).map(fieldSegment);
  }, [result]);

  function start(wanted: Asked, pageSize = size): void {
    // On a narrow screen the answer is below what was asked.
    if (matchMedia("(max-width: 860px)").matches) pane.current?.scrollIntoView();
    query.start(wanted, pageSize);
  }

  function read(): Asked | null {
    try {
      const wanted = encodeDraft(draft);
      setWrong(null);
      return wanted;
    } catch (error) {
      setWrong(messageOf(error));
      return null;
    }
  }

  const sent = useRef<string | null>(null);

  function run(): void {
    const wanted = read();
    if (wanted === null) return;
    sent.current = writeAsked(wanted);
    replaceHash(queryHash(project, database, wanted));
    start(wanted);
  }

  // An address asks what it holds: as the page opens, and when another one is followed.
  const address = asked === null ? null : writeAsked(asked);
  useEffect(() => {
    if (asked === null || address === sent.current) return;
    sent.current = address;
    setDraft(decodeDraft(asked));
    start(asked);
    // oxlint-disable-next-line react/exhaustive-deps -- only another address asks anew.
  }, [address]);

  useRunKey(bulk === null, run);

  function copy(write: typeof curlOf, name: string): void {
    const wanted = read();
    if (wanted === null) return;
    navigator.clipboard.writeText(write(wanted, { url: location.origin, project, database })).then(
      () => toast(`Copied for ${name}`),
      (error: unknown) => toastError("Not copied", error),
    );
  }

  async function startBulk(does: Bulk["does"]): Promise<void> {
    const wanted = read();
    if (wanted === null) return;
    for (const [member, name] of [
      ["search", "a search"],
      ["near", "a place"],
    ] as const)
      if (wanted.query[member] !== undefined) {
        toastError(
          `Not for ${name}`,
          new Error(`Remove ${name.replace("a ", "the ")}: a filter says which documents.`),
        );
        return;
      }
    const { collection, group, where } = wanted.query;
    const query: JsonObject = { collection: collection as string };
    if (group !== undefined) query.group = group;
    if (where !== undefined) query.where = where;
    const count = await countDocuments(
      project,
      database,
      query,
      new AbortController().signal,
    ).catch(() => null);
    setBulk({ does, query, count });
  }

  const BulkDialog = bulk?.does === "erase" ? BulkErase : BulkUpdate;
  return (
    <>
      <header className="bar">
        <h1>Query</h1>
        <span className="grow" />
        <NativeSelect
          aria-label="Documents on a page"
          value={String(size)}
          onChange={(event) => {
            const next = Number(event.currentTarget.value);
            setSize(next);
            if (result !== null) start(result.asked, next);
          }}
          data={SIZES.map((value) => ({ value, label: `${value} a page` }))}
        />
        <Menu position="bottom-end">
          <Menu.Target>
            <IconAction label="Query actions">
              <IconDotsVertical size={16} />
            </IconAction>
          </Menu.Target>
          <Menu.Dropdown>
            <Menu.Item
              leftSection={<IconBrandPython size={15} />}
              onClick={() => copy(pythonOf, "Python")}
            >
              Copy as Python
            </Menu.Item>
            <Menu.Item
              leftSection={<IconTerminal2 size={15} />}
              onClick={() => copy(curlOf, "curl")}
            >
              Copy as curl
            </Menu.Item>
            <Menu.Item
              leftSection={<IconCopy size={15} />}
              onClick={() => copy((wanted) => writeAsked(wanted), "HTTP")}
            >
              Copy as JSON
            </Menu.Item>
            <Menu.Divider />
            <Menu.Item leftSection={<IconPencil size={15} />} onClick={() => startBulk("update")}>
              Update its documents…
            </Menu.Item>
            <Menu.Item
              color="var(--danger)"
              leftSection={<IconEraser size={15} />}
              onClick={() => startBulk("erase")}
            >
              Erase their history…
            </Menu.Item>
          </Menu.Dropdown>
        </Menu>
        <DatabaseMenu
          project={project}
          database={database}
          hashOf={(id) => queryHash(project, id)}
        />
      </header>
      <div className="query-panes">
        <section className="pane tint" aria-label="Query builder">
          <QueryForm
            project={project}
            database={database}
            draft={draft}
            names={names}
            busy={isBusy}
            error={wrong}
            onChange={setDraft}
            onRun={run}
            onStop={query.stop}
          />
        </section>
        <section className="pane" aria-label="Answer" ref={pane}>
          {failure !== null ? (
            <Failed title="The query cannot be answered" error={failure} onRetry={run} />
          ) : result === null ? (
            isBusy ? (
              <Loading label="Asking" late="The server is reading the collection" />
            ) : (
              <Empty icon={<IconListSearch />} title="Ask something">
                Name a collection and run. Addresses keep the query, so that it can be shared.
              </Empty>
            )
          ) : (
            <QueryResults
              project={project}
              database={database}
              result={result}
              shown={shown}
              busy={isBusy}
              onShown={setShown}
              onPage={(page) => query.turnTo(page, size)}
            />
          )}
        </section>
      </div>
      {bulk !== null && (
        <BulkDialog
          project={project}
          database={database}
          query={bulk.query}
          count={bulk.count}
          onClose={() => setBulk(null)}
        />
      )}
    </>
  );
}
