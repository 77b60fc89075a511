/** The data browser: collections, the documents of one, and one document, all live. */

import { TextInput, Tooltip } from "@mantine/core";
import { IconDatabase, IconHome, IconListSearch } from "@tabler/icons-react";
import { type ReactNode, useEffect, useRef, useState } from "react";
import { getProject, listCollections } from "../api/admin";
import { ConnectionContext, useConnection, useConnectionStatus, useLoaded } from "../api/hooks";
import { CollectionsPane } from "../components/CollectionsPane";
import { FirstDocuments } from "../components/ConnectSection";
import { IconAction } from "../components/controls";
import { DatabaseMenu } from "../components/DatabaseMenu";
import { DocumentPane } from "../components/DocumentPane";
import { DocumentsPane } from "../components/DocumentsPane";
import { Empty, Failed } from "../components/feedback";
import { askedDocuments } from "../model/asked";
import { faultOfPath, isCollection, isDocument, splitPath } from "../model/paths";
import { encodeQuery } from "../model/queries";
import { dataHash, queryHash, type Route } from "../model/routes";
import { navigate } from "../navigation";

export type DataRoute = Extract<Route, { page: "data" }>;

export function DataPage({ route }: { route: DataRoute }): ReactNode {
  const { project, database, path } = route;
  const connection = useConnection(project, database);
  const exists = useLoaded(`project ${project}`, () => getProject(project));
  const collections = useLoaded(`collections ${project} ${database}`, () =>
    listCollections(project, database, null),
  );
  const fault = path.length === 0 ? null : faultOfPath(path);
  const collection = isDocument(path) ? path.slice(0, -1) : path;
  const depth = path.length === 0 ? "root" : isCollection(path) ? "collection" : "document";
  if (exists.error !== undefined)
    return (
      <Failed
        title="This project cannot be shown"
        error={exists.error}
        onRetry={() => {
          exists.reload();
          collections.reload();
        }}
      />
    );
  return (
    <ConnectionContext value={connection}>
      <header className="bar">
        <h1 className="sr-only">Data</h1>
        <Crumbs route={route} />
        <LiveDot />
        <IconAction label="Query builder" onClick={() => navigate(builderHash(route))}>
          <IconListSearch size={16} />
        </IconAction>
        <DatabaseMenu
          project={project}
          database={database}
          hashOf={(id) => dataHash(project, id, [])}
        />
      </header>
      <div
        className="panes"
        data-depth={depth}
        {...(depth === "document" ? { "data-open": "" } : {})}
      >
        <CollectionsPane project={project} database={database} path={path} loaded={collections} />
        <section className="pane documents" aria-label="Documents">
          {fault !== null ? (
            <Empty icon={<IconDatabase />} title="This path cannot be">
              {fault}
            </Empty>
          ) : collection.length === 0 && collections.data?.length === 0 ? (
            <FirstDocuments project={project} />
          ) : collection.length === 0 ? (
            <Empty icon={<IconDatabase />} title="Choose a collection">
              Its documents appear here, and stay up to date as apps change them.
            </Empty>
          ) : (
            <DocumentsPane
              key={`${collection.join("/")} ${route.view.group}`}
              route={route}
              collection={collection}
            />
          )}
        </section>
        {depth === "document" && fault === null && (
          <DocumentPane key={path.join("/")} route={route} />
        )}
      </div>
    </ConnectionContext>
  );
}

/** The query builder, with what is shown here. */
function builderHash({ project, database, path, view }: DataRoute): string {
  const collection = isDocument(path) ? path.slice(0, -1) : path;
  if (collection.length === 0) return queryHash(project, database);
  const query = encodeQuery(collection.join("/"), view, null);
  return queryHash(project, database, askedDocuments(query));
}

function Crumbs({ route }: { route: DataRoute }): ReactNode {
  const { project, database, path, view } = route;
  const [isTyping, setTyping] = useState(false);
  const end = useRef<HTMLDivElement>(null);
  const length = path.join("/").length;
  // Deep paths are read from their end: a new one scrolls there.
  useEffect(() => {
    if (end.current !== null) end.current.scrollLeft = end.current.scrollWidth;
  }, [length]);
  if (isTyping)
    return (
      <form
        className="grow"
        onSubmit={(event) => {
          event.preventDefault();
          const text = new FormData(event.currentTarget).get("path");
          setTyping(false);
          navigate(dataHash(project, database, splitPath(String(text))));
        }}
      >
        <TextInput
          name="path"
          aria-label="Path of a collection or document"
          placeholder="users/ada"
          defaultValue={path.join("/")}
          autoFocus
          onFocus={(event) => event.currentTarget.select()}
          onBlur={() => setTyping(false)}
          onKeyDown={(event) => event.key === "Escape" && setTyping(false)}
          spellCheck={false}
          autoComplete="off"
          styles={{ input: { fontFamily: "var(--mono)", fontSize: 12 } }}
        />
      </form>
    );
  return (
    <>
      <nav className="crumbs" aria-label="Path" ref={end}>
        <ol>
          <li>
            <a
              href={dataHash(project, database, [])}
              aria-label="Data root"
              aria-current={path.length === 0 ? "page" : undefined}
            >
              <IconHome size={15} style={{ display: "block" }} />
            </a>
          </li>
          {path.map((segment, index) => {
            const upTo = path.slice(0, index + 1);
            const keepsView = index === path.length - 2 && isDocument(path);
            return (
              <li key={index}>
                <a
                  href={dataHash(project, database, upTo, keepsView ? view : undefined)}
                  title={segment}
                  aria-current={index === path.length - 1 ? "page" : undefined}
                >
                  {segment}
                </a>
              </li>
            );
          })}
        </ol>
      </nav>
      <Tooltip label="Go to a path">
        <button
          type="button"
          className="bare goto wide-only"
          onClick={() => setTyping(true)}
          data-key="/"
        >
          Go to <kbd>/</kbd>
        </button>
      </Tooltip>
    </>
  );
}

function LiveDot(): ReactNode {
  const connection = useConnectionStatus();
  const text = { live: "Live", connecting: "Connecting", offline: "Reconnecting" };
  const error = connection.status === "offline" ? connection.error : null;
  return (
    <span
      className="live"
      role="status"
      data-status={connection.status}
      title={error?.message ?? "Changes appear as they happen"}
    >
      {text[connection.status]}
    </span>
  );
}
