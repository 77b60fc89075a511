/** Long work of the project: what it is, how far it has come, and how to end it. */

import "../data.css";
import { Button, Progress } from "@mantine/core";
import { IconProgressCheck } from "@tabler/icons-react";
import { type ReactNode, useState } from "react";
import { useLoaded, useRefresh } from "../api/hooks";
import { cancelJob, type Job, listJobs } from "../api/jobs";
import { Confirm } from "../components/Confirm";
import { Empty, Loadable } from "../components/feedback";
import { RestoreDialog } from "../components/RestoreDialog";
import { shortTime } from "../model/inputs";
import { writeJson } from "../model/json";
import { splitPath } from "../model/paths";
import { DEFAULT_DATABASE, dataHash } from "../model/routes";

const RUNNING_MS = 1_000;
const IDLE_MS = 5_000;

export function JobsPage({ project }: { project: string }): ReactNode {
  const [ending, setEnding] = useState<Job | null>(null);
  const [undoing, setUndoing] = useState<Job | null>(null);
  const loaded = useLoaded(`jobs ${project}`, () => listJobs(project));
  const { reload, data } = loaded;
  const isRunning = data?.some((job) => job.state === "running") ?? false;
  useRefresh(reload, isRunning ? RUNNING_MS : IDLE_MS);
  return (
    <>
      <header className="bar">
        <h1>Jobs</h1>
        <span className="muted small truncate">Work that goes on in the server</span>
      </header>
      <div className="page">
        <Loadable loaded={loaded} what="jobs">
          {(jobs) =>
            jobs.length === 0 ? (
              <Empty icon={<IconProgressCheck />} title="No jobs">
                Deleting a collection with everything below, updating or erasing every document of a
                query, or restoring an earlier time appears here with its progress.
              </Empty>
            ) : (
              <ol className="jobs" aria-label="Jobs">
                {jobs.map((job) => (
                  <li key={job.id}>
                    <JobCard
                      project={project}
                      job={job}
                      onCancel={() => setEnding(job)}
                      onUndo={() => setUndoing(job)}
                    />
                  </li>
                ))}
              </ol>
            )
          }
        </Loadable>
      </div>
      {undoing !== null && undoing.database !== null && (
        <RestoreDialog
          project={project}
          database={undoing.database}
          path={splitPath(targetOf(undoing))}
          at={undoing.created}
          below={undoing.kind === "delete-recursive"}
          onClose={() => setUndoing(null)}
        />
      )}
      {ending !== null && (
        <Confirm
          title="End this job?"
          action="End the job"
          danger
          onClose={() => setEnding(null)}
          onConfirm={async () => {
            await cancelJob(project, ending.id);
            reload();
          }}
        >
          <p>It ends after the chunk that it is at. What it has done stays done.</p>
        </Confirm>
      )}
    </>
  );
}

const KINDS: Readonly<Record<string, string>> = {
  "check-schemas": "Check stored documents against schemas",
  "delete-recursive": "Delete with everything below",
  "deploy-schemas": "Deploy schemas",
  "erase-by-query": "Erase what every document of a query was",
  restore: "Restore to an earlier time",
  "update-by-query": "Update every document of a query",
};

const TONES = { running: "warn", done: "good", cancelled: undefined, failed: "danger" } as const;

function JobCard({
  project,
  job,
  onCancel,
  onUndo,
}: {
  project: string;
  job: Job;
  onCancel: () => void;
  onUndo: () => void;
}): ReactNode {
  return (
    <article className="job" aria-label={KINDS[job.kind] ?? job.kind}>
      <div className="row">
        <h2 className="grow breaks">
          {KINDS[job.kind] ?? job.kind} <code>{targetOf(job)}</code>
        </h2>
        <span className="badge" data-tone={TONES[job.state]}>
          {job.state}
        </span>
        {job.state === "running" && (
          <Button size="compact-sm" variant="default" onClick={onCancel}>
            End…
          </Button>
        )}
        {canUndo(job) && (
          <Button size="compact-sm" variant="default" onClick={onUndo}>
            Bring back what was there…
          </Button>
        )}
      </div>
      <JobProgress job={job} />
      <p className="muted small breaks">
        {`${shortTime(job.created)}, by ${job.author ?? "a command line"}`}
        {job.database !== null && job.database !== DEFAULT_DATABASE && (
          <>
            {", database "}
            <code>{job.database}</code>
          </>
        )}
        {job.state !== "running" && `, ended ${shortTime(job.updated)}`}
      </p>
      {job.error !== null && <p className="error-text breaks">{job.error}</p>}
      {job.firstFailure !== null && (
        <p className="error-text breaks">
          {`${job.failed.toLocaleString("en")} ${job.database === null ? "do not fit" : "could not be written"}, first `}
          <a
            className="link"
            href={dataHash(
              project,
              job.database ?? DEFAULT_DATABASE,
              splitPath(job.firstFailure.path),
            )}
          >
            <code>{job.firstFailure.path}</code>
          </a>
          {`: ${job.firstFailure.message}`}
        </p>
      )}
      <details>
        <summary>What was asked</summary>
        <pre className="snippet" tabIndex={0}>
          {writeJson(job.asked, 2)}
        </pre>
      </details>
    </article>
  );
}

const UNDONE = ["delete-recursive", "restore", "update-by-query"];

/** History holds what was there before, for a while; a group's documents lie in many places. */
function canUndo({ kind, state, written, asked, database }: Job): boolean {
  const query = asked.query as { group?: unknown } | undefined;
  const isOver = state !== "running" && written > 0;
  return isOver && database !== null && UNDONE.includes(kind) && query?.group !== true;
}

function targetOf({ asked }: Job): string {
  const query = asked.query as { collection?: unknown } | undefined;
  return String(asked.path ?? query?.collection ?? asked.collection ?? "");
}

function JobProgress({ job }: { job: Job }): ReactNode {
  const { kind, seen, written, total, state } = job;
  const most = Math.max(total ?? 0, seen);
  const share = state === "done" ? 100 : most === 0 ? 0 : (seen / most) * 100;
  const of = total === null ? "" : ` of about ${most.toLocaleString("en")}`;
  return (
    <>
      <Progress.Root size={6}>
        <Progress.Section
          value={share}
          color={state === "failed" ? "red.8" : "petrol"}
          aria-label="Progress of the job"
        />
      </Progress.Root>
      <p className="small" role="status">
        {`${seen.toLocaleString("en")}${state === "done" ? "" : of} seen, ${written.toLocaleString("en")} ${kind === "erase-by-query" ? "erased" : "written"}`}
      </p>
    </>
  );
}
