/** The edits of a live document: what they began from, what came meanwhile, and their end. */

import { useCallback, useEffect, useRef, useState } from "react";
import { isConflict } from "../api/client";
import { setDocument } from "../api/documents";
import type { Document } from "../api/listen";
import { changesBetween, mergeFields } from "../model/drafts";
import { type Fields, isSameFields } from "../model/values";
import { useGuard } from "../navigation";
import type { DataRoute } from "../pages/DataPage";
import { toast, toastError } from "./feedback";
import { type Draft, draftOf, finishedFields, isDirty } from "./FieldsEditor";

const NONE: Fields = new Map();

export interface DocumentDraft {
  /** What the edits began from; null: there is no document. */
  base: Document | null;
  draft: Draft;
  setDraft: (draft: Draft) => void;
  /** Fields that somebody else has just changed. */
  fresh: ReadonlySet<string>;
  isBusy: boolean;
  isDirty: boolean;
  /** A newer version is there than the one that the edits began from. */
  isBehind: boolean;
  /** Fields that both have changed, once mine are kept. */
  conflicts: readonly string[];
  save: () => Promise<void>;
  discard: () => void;
  keepMine: () => void;
}

export function useDocumentDraft(
  { project, database, path }: DataRoute,
  live: Document | null,
): DocumentDraft {
  // What the edits started from; follows the live document while there are none.
  const [base, setBase] = useState(live);
  const [draft, setDraft] = useState<Draft>(() => draftOf(live?.fields ?? NONE));
  const [fresh, setFresh] = useState<ReadonlySet<string>>(new Set());
  const [busy, setBusy] = useState(false);
  const [conflicts, setConflicts] = useState<readonly string[]>([]);
  const baseFields = base?.fields ?? NONE;
  const dirty = isDirty(draft, baseFields);
  // After a save the listener still holds the old version for a moment: no news, not to be shown.
  const [outdated, setOutdated] = useState<Document | null | undefined>(undefined);
  const latest = useRef(live);
  latest.current = live;
  const isBehind = live !== outdated && (live?.updateTime ?? null) !== (base?.updateTime ?? null);

  // While there are no edits the newest version is shown. What was just saved comes back as news
  // of our own, with the same fields, and must not close a row that is being edited meanwhile.
  if (isBehind && !busy) {
    const theirs = live?.fields ?? NONE;
    if (!dirty || isSameFields(theirs, baseFields)) {
      const changed = changesBetween(baseFields, theirs).map((change) => change.name);
      if (base !== null) setFresh(new Set(changed));
      setBase(live);
      if (changed.length > 0) setDraft(draftOf(theirs, draft.mode));
    }
  }

  useGuard(
    dirty,
    `The changes to ${path.at(-1)}`,
    (next) => next.page !== "data" || next.path.join("/") !== path.join("/"),
  );

  const save = useCallback(async () => {
    setBusy(true);
    setConflicts([]);
    try {
      const fields = finishedFields(draft);
      const updateTime = await setDocument(
        project,
        database,
        path,
        fields,
        base?.updateTime ?? null,
      );
      const createTime = base?.createTime ?? updateTime;
      if (latest.current?.updateTime !== updateTime) setOutdated(latest.current);
      setBase({ path: path.join("/"), fields, createTime, updateTime });
      setDraft(draftOf(fields, draft.mode));
      setFresh(new Set());
      toast(`${path.at(-1)} is saved`);
    } catch (error) {
      if (isConflict(error))
        toastError(
          "Not saved: somebody else changed this document",
          new Error("your changes are still here; see above the fields how to go on"),
        );
      else toastError("Not saved", error);
    }
    setBusy(false);
  }, [draft, base, project, database, path]);

  useSaveKey(dirty && !busy, save);

  function discard(): void {
    setBase(live);
    setDraft(draftOf(live?.fields ?? NONE, draft.mode));
    setConflicts([]);
  }

  function keepMine(): void {
    try {
      const mine = finishedFields(draft);
      const merge = mergeFields(baseFields, mine, live?.fields ?? NONE);
      setBase(live);
      setDraft(draftOf(live === null ? mine : merge.fields, draft.mode));
      setConflicts(live === null ? [] : merge.conflicts);
    } catch (error) {
      toastError("Finish the open edit first", error);
    }
  }

  return {
    base,
    draft,
    setDraft,
    fresh,
    isBusy: busy,
    isDirty: dirty,
    isBehind,
    conflicts,
    save,
    discard,
    keepMine,
  };
}

function useSaveKey(active: boolean, save: () => void): void {
  useEffect(() => {
    function press(event: KeyboardEvent): void {
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "s") {
        event.preventDefault();
        if (active) save();
      }
    }
    window.addEventListener("keydown", press);
    return () => window.removeEventListener("keydown", press);
  }, [active, save]);
}
