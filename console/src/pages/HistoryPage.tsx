/** The versions of one document: what each changed, how any two differ, and the way back. */

import "../data.css";
import { json } from "@codemirror/lang-json";
import { unifiedMergeView } from "@codemirror/merge";
import { Button, NativeSelect } from "@mantine/core";
import { IconArrowBackUp, IconArrowLeft, IconEraser, IconHistory } from "@tabler/icons-react";
import { type ReactNode, useMemo, useState } from "react";
import { getDocumentAt, listVersions, type Version } from "../api/history";
import { useLoaded } from "../api/hooks";
import type { Document } from "../api/listen";
import { CodeEditor } from "../components/CodeEditor";
import { EraseDialog } from "../components/EraseDialog";
import { Empty, Failed, Loading } from "../components/feedback";
import { LoadMore, usePages } from "../components/Listing";
import { RestoreDialog } from "../components/RestoreDialog";
import { exactTime } from "../model/inputs";
import { writeJson } from "../model/json";
import { dataHash, databaseHash, historyHash, type Route } from "../model/routes";
import { encodeFields } from "../model/values";
import { navigate } from "../navigation";

const PAGE = 50;

type HistoryRoute = Extract<Route, { page: "history" }>;

export function HistoryPage({ route }: { route: HistoryRoute }): ReactNode {
  const { project, database, path, version } = route;
  const [dialog, setDialog] = useState<"restore" | "erase" | null>(null);
  const loaded = usePages("versions", `${project} ${database} ${path.join("/")}`, (token) =>
    listVersions(project, database, path, PAGE, token),
  );
  const page = loaded.data;
  const versions = page?.items ?? [];
  // Where there is room, the newest one is shown until another is chosen.
  const at = version === null ? 0 : versions.findIndex((one) => one.time === version);
  const chosen = versions[at] ?? null;

  return (
    <>
      <header className="bar">
        <a href={dataHash(project, database, path)} aria-label="Back to the document">
          <IconArrowLeft size={18} />
        </a>
        <h1 className="truncate">
          History of <code>{path.join("/")}</code>
        </h1>
        <span className="grow" />
        <Button
          variant="default"
          c="var(--danger)"
          leftSection={<IconEraser size={15} />}
          onClick={() => setDialog("erase")}
        >
          Erase…
        </Button>
      </header>
      {page === undefined && loaded.loading && <Loading label="Loading the history" />}
      {page === undefined && !loaded.loading && (
        <Failed
          title="The history could not be loaded"
          error={loaded.error}
          onRetry={loaded.reload}
        />
      )}
      {page !== undefined && versions.length === 0 && (
        <Empty icon={<IconHistory />} title="No versions are kept">
          Each change is kept{" "}
          <a className="link" href={databaseHash(project, "expiry", database)}>
            for a time, and up to a size
          </a>
          .
        </Empty>
      )}
      {page !== undefined && versions.length > 0 && (
        <div className="history" data-open={version !== null || undefined}>
          <section className="pane tint" aria-label="Versions">
            <div className="pane-body">
              <ol className="versions">
                {versions.map((one) => (
                  <li key={one.time}>
                    <VersionLink route={route} version={one} isChosen={one === chosen} />
                  </li>
                ))}
              </ol>
              <LoadMore pages={loaded} />
            </div>
          </section>
          <section className="pane" aria-label="Version">
            {chosen === null ? (
              <Empty icon={<IconHistory />} title="Choose a version">
                What it changed is shown here, and the way back to it.
              </Empty>
            ) : (
              <VersionPane
                route={route}
                chosen={chosen}
                before={versions[at + 1] ?? null}
                versions={versions}
                onRestore={() => setDialog("restore")}
              />
            )}
          </section>
        </div>
      )}
      {dialog === "restore" && chosen !== null && (
        <RestoreDialog
          project={project}
          database={database}
          path={path}
          at={chosen.time}
          onClose={() => setDialog(null)}
        />
      )}
      {dialog === "erase" && (
        <EraseDialog
          project={project}
          database={database}
          path={path}
          onClose={() => setDialog(null)}
          onErased={() => {
            navigate(historyHash(project, database, path));
            loaded.reload();
          }}
        />
      )}
    </>
  );
}

function VersionLink({
  route,
  version,
  isChosen,
}: {
  route: HistoryRoute;
  version: Version;
  isChosen: boolean;
}): ReactNode {
  const { project, database, path } = route;
  const tone = { created: "good", updated: undefined, deleted: "danger" }[version.kind];
  return (
    <a
      href={historyHash(project, database, path, version.time)}
      aria-current={isChosen ? "true" : undefined}
    >
      <span className="row">
        <span className="grow" title={version.time}>
          {exactTime(version.time)}
        </span>
        <span className="badge" data-tone={version.erased ? "warn" : tone}>
          {version.erased ? "erased" : version.kind}
        </span>
      </span>
      {version.bytes !== null && (
        <span className="muted small">{version.bytes.toLocaleString("en")} bytes</span>
      )}
    </a>
  );
}

const NOW = "now";
const BEFORE = "before";

function VersionPane({
  route,
  chosen,
  before,
  versions,
  onRestore,
}: {
  route: HistoryRoute;
  chosen: Version;
  before: Version | null;
  versions: readonly Version[];
  onRestore: () => void;
}): ReactNode {
  const { project, database, path } = route;
  const [against, setAgainst] = useState(BEFORE);
  const key = `${project} ${database} ${path.join("/")}`;
  const load = (time: string | null) => getDocumentAt(project, database, path, time);
  const shown = useLoaded(`version ${key} ${chosen.time}`, () => load(chosen.time));
  const other = useLoaded(`version ${key} ${against} ${before?.time} ${chosen.time}`, async () => {
    if (against === NOW) return load(null);
    if (against !== BEFORE) return load(against);
    return before === null || before.erased || before.kind === "deleted" ? null : load(before.time);
  });
  const error = shown.error ?? other.error;
  return (
    <>
      <div className="version-acts row">
        <NativeSelect
          aria-label="Compare with"
          value={against}
          onChange={(event) => setAgainst(event.currentTarget.value)}
          data={[
            { value: BEFORE, label: "what it changed" },
            { value: NOW, label: "against the document now" },
            ...versions
              .filter((one) => one.time !== chosen.time && !one.erased)
              .map((one) => ({
                value: one.time,
                label: `against ${exactTime(one.time)}, ${one.kind}`,
              })),
          ]}
        />
        <span className="grow" />
        <Button
          leftSection={<IconArrowBackUp size={16} />}
          disabled={chosen.erased}
          onClick={onRestore}
        >
          Restore this version…
        </Button>
      </div>
      {chosen.erased ? (
        <p className="note muted">What this version held was erased.</p>
      ) : error !== undefined ? (
        <Failed title="The version cannot be shown" error={error} onRetry={shown.reload} />
      ) : shown.data === undefined || other.data === undefined ? (
        <Loading label="Loading the version" />
      ) : (
        <Diff key={`${chosen.time} ${against}`} original={other.data} shown={shown.data} />
      )}
    </>
  );
}

function textOf(document: Document | null): string {
  return document === null ? "" : `${writeJson(encodeFields(document.fields, true), 2)}\n`;
}

function Diff({
  original,
  shown,
}: {
  original: Document | null;
  shown: Document | null;
}): ReactNode {
  const before = textOf(original);
  const after = textOf(shown);
  const language = useMemo(
    () => [
      json(),
      unifiedMergeView({
        original: before,
        mergeControls: false,
        gutter: true,
        collapseUnchanged: { margin: 3, minSize: 6 },
      }),
    ],
    [before],
  );
  const plain = useMemo(() => json(), []);
  return (
    <>
      {shown === null && <p className="note muted">There was no document.</p>}
      {before === after && shown !== null && <p className="note muted">They are the same.</p>}
      <div className="fill">
        <CodeEditor
          value={after}
          language={before === after ? plain : language}
          label="Fields of the version"
          readOnly
        />
      </div>
    </>
  );
}
