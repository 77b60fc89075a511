/** Backups, checks and restores that are under way, or came to their end. */

import { Button, Progress } from "@mantine/core";
import type { ReactNode } from "react";
import type { BackupTask } from "../api/backups";
import { formatSize } from "../model/files";
import { shortTime } from "../model/inputs";

const TASKS_SHOWN = 5;
const KINDS: Readonly<Record<string, string>> = {
  backup: "Back up",
  verify: "Verify",
  restore: "Restore",
  delete: "Delete",
};
const TONES = { running: "warn", done: "good", cancelled: undefined, failed: "danger" } as const;

export function Tasks({
  tasks,
  onCancel,
}: {
  tasks: readonly BackupTask[];
  onCancel: (task: BackupTask) => void;
}): ReactNode {
  if (tasks.length === 0) return null;
  return (
    <section className="section" aria-label="Tasks">
      <header>
        <h2>Tasks</h2>
      </header>
      <ol className="jobs flush">
        {tasks.slice(0, TASKS_SHOWN).map((task) => (
          <li key={task.id}>
            <TaskCard task={task} onCancel={onCancel} />
          </li>
        ))}
      </ol>
    </section>
  );
}

function TaskCard({
  task,
  onCancel,
}: {
  task: BackupTask;
  onCancel: (task: BackupTask) => void;
}): ReactNode {
  const name = KINDS[task.kind] ?? task.kind;
  const most = Math.max(task.totalDocuments ?? 0, task.documents);
  const share = task.state === "done" ? 100 : most === 0 ? 0 : (task.documents / most) * 100;
  return (
    <article className="job" aria-label={name}>
      <div className="row">
        <h3 className="grow breaks">
          {name}{" "}
          <code>{task.project ?? (task.kind === "backup" ? "everything" : task.backup)}</code>
          {task.target !== null && (
            <>
              {" as "}
              <code>{task.target}</code>
            </>
          )}
        </h3>
        <span className="badge" data-tone={TONES[task.state]}>
          {task.state}
        </span>
        {task.state === "running" && (
          <Button size="compact-sm" variant="default" onClick={() => onCancel(task)}>
            End
          </Button>
        )}
      </div>
      {task.state === "running" && (
        <Progress.Root size={6}>
          <Progress.Section value={share} color="petrol" aria-label="Progress of the task" />
        </Progress.Root>
      )}
      <p className="muted small breaks" role="status">
        {`${task.documents.toLocaleString("en")} documents, ${formatSize(task.bytes)}`}
        {` · ${shortTime(task.created)}, by ${task.scheduled ? "the schedule" : (task.author ?? "a command line")}`}
      </p>
      {task.error !== null && <p className="error-text breaks">{task.error}</p>}
      {task.notes.map((note, at) => (
        <p className="small breaks" key={at}>
          {note}
        </p>
      ))}
    </article>
  );
}
