/** What goes by itself and what was made to go: policies of expiry, how far back history reaches,
 * and erasures on record. */

import "../data.css";
import { Button } from "@mantine/core";
import { IconEraser, IconHourglass, IconPlus, IconTrash } from "@tabler/icons-react";
import { type ReactNode, useState } from "react";
import { messageOf } from "../api/client";
import { type Erasure, listErasures } from "../api/history";
import { useLoaded, useRefresh } from "../api/hooks";
import { deletePolicy, listPolicies, type Policy } from "../api/ttl";
import { Confirm } from "../components/Confirm";
import { IconAction } from "../components/controls";
import { DatabaseMenu } from "../components/DatabaseMenu";
import { Empty, Loadable, toast } from "../components/feedback";
import { Listing, usePages } from "../components/Listing";
import { NewPolicy } from "../components/NewPolicy";
import { RetentionSection } from "../components/RetentionSection";
import { type Column, Table } from "../components/Table";
import { askedDocuments } from "../model/asked";
import { shortTime } from "../model/inputs";
import { writeJson } from "../model/json";
import { splitPath } from "../model/paths";
import { databaseHash, historyHash, pageHash, queryHash, type Route } from "../model/routes";

const REFRESH_MS = 5_000;
const PAGE = 100;

export function ExpiryPage({ route }: { route: Extract<Route, { page: "expiry" }> }): ReactNode {
  const { project, database } = route;
  const [isMaking, setMaking] = useState(false);
  const [removing, setRemoving] = useState<Policy | null>(null);
  const policies = useLoaded(`policies ${project} ${database}`, () =>
    listPolicies(project, database),
  );
  const erasures = usePages("erasures", `${project} ${database}`, (token) =>
    listErasures(project, database, PAGE, token),
  );
  useRefresh(policies.reload, REFRESH_MS);
  return (
    <>
      <header className="bar">
        <h1>Expiry and history</h1>
        <span className="grow" />
        <Button leftSection={<IconPlus size={15} />} onClick={() => setMaking(true)} data-key="n">
          New policy
        </Button>
        <DatabaseMenu
          project={project}
          database={database}
          hashOf={(id) => databaseHash(project, "expiry", id)}
        />
      </header>
      <div className="page">
        <div className="sheet wide-sheet">
          <section className="section" aria-labelledby="policies">
            <header>
              <div className="grow">
                <h2 id="policies">Policies</h2>
                <p>
                  Documents of a collection group are deleted once the time in a field has passed,
                  usually within a minute. Those without a timestamp there stay.
                </p>
              </div>
            </header>
            <div className="card">
              <Loadable loaded={policies} what="policies">
                {(items) =>
                  items.length === 0 ? (
                    <Empty icon={<IconHourglass />} title="Nothing expires">
                      A policy names a collection, such as sessions, and the field that says until
                      when its documents are wanted, such as expires.
                    </Empty>
                  ) : (
                    <div className="scroll">
                      <Table
                        label="Policies"
                        className="roomy-grid"
                        items={items}
                        keyOf={(one) => one.collection}
                        columns={policyColumns(project, database, setRemoving)}
                      />
                    </div>
                  )
                }
              </Loadable>
            </div>
          </section>
          <RetentionSection project={project} database={database} />
          <section className="section" aria-labelledby="erasures">
            <header>
              <div className="grow">
                <h2 id="erasures">Erasures</h2>
                <p>
                  What was removed from history for good: from a document's menu, from that of a
                  query, or by <code>baas document erase</code>.
                </p>
              </div>
            </header>
            <div className="card">
              <Listing
                pages={erasures}
                empty={
                  <Empty icon={<IconEraser />} title="Nothing was erased">
                    Deleted documents stay in history for as long as it is kept. Erase one where not
                    even that may be.
                  </Empty>
                }
              >
                {({ items }) => (
                  <div className="scroll">
                    <Table
                      label="Erasures"
                      className="roomy-grid"
                      items={items}
                      keyOf={(one) => one.id}
                      columns={erasureColumns(project, database)}
                    />
                  </div>
                )}
              </Listing>
            </div>
          </section>
        </div>
      </div>
      {isMaking && (
        <NewPolicy
          project={project}
          database={database}
          onDone={policies.reload}
          onClose={() => setMaking(false)}
        />
      )}
      {removing !== null && (
        <Confirm
          title="Remove this policy?"
          action="Remove policy"
          danger
          onClose={() => setRemoving(null)}
          onConfirm={async () => {
            await deletePolicy(project, database, removing.collection);
            toast(`Documents of ${removing.collection} expire no more`);
            policies.reload();
          }}
        >
          <p>
            Documents of <code className="breaks">{removing.collection}</code> stay, whatever{" "}
            <code className="breaks">{removing.field}</code> says. What has expired is gone, and can
            be restored for as long as history is kept.
          </p>
        </Confirm>
      )}
    </>
  );
}

function policyColumns(
  project: string,
  database: string,
  onRemove: (policy: Policy) => void,
): readonly Column<Policy>[] {
  return [
    {
      name: "Collection and field",
      cell: ({ collection, field }) => (
        <span className="definition">
          <a
            className="link"
            href={queryHash(
              project,
              database,
              askedDocuments({
                collection,
                group: true,
                order_by: [{ field, direction: "asc" }],
              }),
            )}
            title="What expires next"
          >
            <code>{collection}</code>
          </a>
          <code>{field}</code>
        </span>
      ),
    },
    {
      name: "State",
      cell: ({ error }) =>
        error === null ? (
          <span className="badge" data-tone="good">
            active
          </span>
        ) : (
          <>
            <span className="badge" data-tone="danger">
              failing
            </span>
            <p className="error-text breaks">{messageOf(new Error(error))}; it is tried again</p>
          </>
        ),
    },
    { name: "Deleted", isNamed: true, cell: ({ deleted }) => deleted.toLocaleString("en") },
    {
      name: "Last",
      isNamed: true,
      className: "muted",
      cell: ({ lastDeletion }) => (lastDeletion === null ? "never" : shortTime(lastDeletion)),
      title: ({ lastDeletion }) => lastDeletion ?? undefined,
    },
    {
      name: "Since",
      isNamed: true,
      className: "muted",
      cell: ({ created }) => shortTime(created),
      title: ({ created }) => created,
    },
    {
      name: "Actions",
      isBare: true,
      className: "acts",
      cell: (policy) => (
        <IconAction
          label={`Remove the policy of ${policy.collection}`}
          onClick={() => onRemove(policy)}
        >
          <IconTrash size={16} />
        </IconAction>
      ),
    },
  ];
}

function erasureColumns(project: string, database: string): readonly Column<Erasure>[] {
  return [
    {
      name: "Documents",
      cell: ({ path, query }) =>
        path === null ? (
          <span>
            of <code className="breaks">{String(query?.collection)}</code>
            {query?.where !== undefined && " that matched a query"}
          </span>
        ) : (
          <a className="link" href={historyHash(project, database, splitPath(path))}>
            <code className="breaks">{path}</code>
          </a>
        ),
      title: ({ query }) => (query === null ? undefined : writeJson(query)),
    },
    {
      name: "Outcome",
      cell: ({ images, present, path, documents }) => {
        if (images === null)
          return path === null ? (
            <a className="link" href={pageHash(project, "jobs")}>
              not done, or broken off
            </a>
          ) : (
            <span className="badge" data-tone="danger">
              broke off: erase it again
            </span>
          );
        const many = (count: number, one: string) =>
          `${count.toLocaleString("en")} ${one}${count === 1 ? "" : "s"}`;
        const also = path === null ? many(documents, "document") : "the document";
        if (path === null && !present) return `${many(images, "version")} of ${also}`;
        return `${many(images, "version")}${present ? ` and ${also}` : ""}`;
      },
    },
    {
      name: "When",
      isNamed: true,
      className: "muted",
      cell: ({ time }) => shortTime(time),
      title: ({ time }) => time,
    },
    {
      name: "By",
      isNamed: true,
      className: "muted",
      cell: ({ author }) => author ?? "a command line",
    },
  ];
}
