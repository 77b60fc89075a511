/** Restores a document or a collection to an earlier time, after it has told what would change. */

import { Checkbox, TextInput } from "@mantine/core";
import { type ReactNode, useState } from "react";
import { planRestore, type RestorePlan, type RestoreWish, restore } from "../api/history";
import type { Segments } from "../model/paths";
import { isCollection } from "../model/paths";
import { pageHash } from "../model/routes";
import { normalTimestamp } from "../model/values";
import { navigate } from "../navigation";
import { FormDialog } from "./FormDialog";
import { toast } from "./feedback";

export function RestoreDialog({
  project,
  database,
  path,
  at = null,
  below = false,
  onClose,
}: {
  project: string;
  database: string;
  path: Segments;
  /** The time; null: a person says it. */
  at?: string | null;
  /** Whether subcollections are wanted, too, until a person says otherwise. */
  below?: boolean;
  onClose: () => void;
}): ReactNode {
  const [time, setTime] = useState(() => at ?? localTime(Date.now() - 3_600_000));
  const [recursive, setRecursive] = useState(below);
  const [planned, setPlanned] = useState<{ wish: RestoreWish; plan: RestorePlan } | null>(null);
  const plan = planned?.plan ?? null;
  const isNothing = plan !== null && plan.created + plan.updated + plan.deleted === 0;

  async function submit(): Promise<boolean> {
    if (planned === null) {
      const wish = { path: path.join("/"), at: at ?? momentOf(time), recursive };
      setPlanned({ wish, plan: await planRestore(project, database, wish) });
      return false;
    }
    await restore(project, database, planned.wish);
    toast("The restore has begun");
    navigate(pageHash(project, "jobs"));
    return true;
  }

  return (
    <FormDialog
      title={`Restore ${isCollection(path) ? "a collection" : "a document"}`}
      action={plan === null ? "Show what would change" : "Restore"}
      disabled={isNothing}
      typed={plan === null || isNothing ? undefined : (path.at(-1) ?? "")}
      onSubmit={submit}
      onClose={onClose}
    >
      <p>
        <code className="breaks">{path.join("/")}</code> gets back what it held then: what was
        deleted comes back, what was made since goes. New versions are written, so it can be undone
        in the same way. It is a job, chunk by chunk.
      </p>
      {at === null && (
        <TextInput
          label="As it was at (your time, or with a zone)"
          value={time}
          onChange={(event) => {
            setTime(event.currentTarget.value);
            setPlanned(null);
          }}
          spellCheck={false}
          data-autofocus
        />
      )}
      <Checkbox
        label="With every subcollection below"
        checked={recursive}
        onChange={(event) => {
          setRecursive(event.currentTarget.checked);
          setPlanned(null);
        }}
      />
      {plan !== null && <PlanText plan={plan} />}
    </FormDialog>
  );
}

function PlanText({ plan }: { plan: RestorePlan }): ReactNode {
  const many = (number: number) => number.toLocaleString("en");
  const total = plan.created + plan.updated + plan.deleted;
  return (
    <div role="status">
      <p>
        {total === 0
          ? "Nothing would change."
          : `${many(plan.created)} come back, ${many(plan.updated)} change, ${many(plan.deleted)} go.`}
        {plan.erased > 0 && ` ${many(plan.erased)} were erased and cannot come back.`}
      </p>
      {plan.changes.length > 0 && (
        <ul className="plan" tabIndex={0} aria-label="Changes">
          {plan.changes.map((one) => (
            <li key={one.path}>
              <span className="badge">{one.kind}</span> <code>{one.path}</code>
            </li>
          ))}
          {total > plan.changes.length && <li>and {many(total - plan.changes.length)} more</li>}
        </ul>
      )}
    </div>
  );
}

/** `2026-11-27 18:30:00` in the browser's zone. */
function localTime(milliseconds: number): string {
  const moment = new Date(milliseconds);
  return new Date(milliseconds - moment.getTimezoneOffset() * 60_000)
    .toISOString()
    .slice(0, 19)
    .replace("T", " ");
}

/** Throws an Error that says what is wanted. */
function momentOf(text: string): string {
  const bare = text.trim();
  if (/[Zz]$|[+-]\d\d:\d\d$/.test(bare)) return normalTimestamp(bare.replace(" ", "T"));
  const moment = new Date(bare.replace(" ", "T"));
  if (Number.isNaN(moment.getTime()))
    throw new Error("The time must be such as 2026-11-27 18:30:00");
  return moment.toISOString();
}
