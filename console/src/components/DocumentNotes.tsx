/** What stands over the fields of a document: news of others, conflicts, its subcollections. */

import { Button } from "@mantine/core";
import { IconAlertTriangle, IconFolder, IconPlus } from "@tabler/icons-react";
import { type ReactNode } from "react";
import { listCollections } from "../api/admin";
import { useLoaded } from "../api/hooks";
import type { Document } from "../api/listen";
import { changesBetween } from "../model/drafts";
import { dataHash } from "../model/routes";
import { type Fields } from "../model/values";
import type { DataRoute } from "../pages/DataPage";
import { IconAction } from "./controls";
import type { DocumentDraft } from "./documentDraft";

const NONE: Fields = new Map();

export function DocumentNotes({
  edits,
  live,
}: {
  edits: DocumentDraft;
  live: Document | null;
}): ReactNode {
  const { base, conflicts } = edits;
  return (
    <>
      {edits.isDirty && edits.isBehind && !edits.isBusy && (
        <ConflictBanner base={base} live={live} onKeep={edits.keepMine} onDiscard={edits.discard} />
      )}
      {conflicts.length > 0 && (
        <div className="banner" role="status">
          <IconAlertTriangle />
          <span className="grow">
            Both changed <code>{conflicts.join(", ")}</code>; your values are shown. Look before you
            save.
          </span>
        </div>
      )}
    </>
  );
}

function ConflictBanner({
  base,
  live,
  onKeep,
  onDiscard,
}: {
  base: Document | null;
  live: Document | null;
  onKeep: () => void;
  onDiscard: () => void;
}): ReactNode {
  const theirs = changesBetween(base?.fields ?? NONE, live?.fields ?? NONE);
  return (
    <div className="banner" role="alert">
      <IconAlertTriangle />
      <span className="say">
        {live === null ? (
          "Somebody deleted this document while you were editing it."
        ) : (
          <>
            Somebody changed <code>{theirs.map((change) => change.name).join(", ")}</code> while you
            were editing.
          </>
        )}
      </span>
      <Button size="compact-sm" variant="default" onClick={onDiscard}>
        {live === null ? "Discard mine" : "Show theirs, discard mine"}
      </Button>
      <Button size="compact-sm" onClick={onKeep}>
        {live === null ? "Keep mine, create it again" : "Keep my changes on top"}
      </Button>
    </div>
  );
}

export function Subcollections({
  route,
  onStart,
}: {
  route: DataRoute;
  onStart: () => void;
}): ReactNode {
  const { project, database, path } = route;
  const name = path.join("/");
  const loaded = useLoaded(`subcollections ${project} ${database} ${name}`, () =>
    listCollections(project, database, name),
  );
  if (loaded.data === undefined || loaded.data.length === 0) return null;
  return (
    <nav className="subs" aria-label="Subcollections">
      {loaded.data.map((id) => (
        <a key={id} className="sub" href={dataHash(project, database, [...path, id])} title={id}>
          <IconFolder aria-hidden /> <span className="truncate">{id}</span>
        </a>
      ))}
      <IconAction label="Start a subcollection" size={24} onClick={onStart}>
        <IconPlus size={14} />
      </IconAction>
    </nav>
  );
}
