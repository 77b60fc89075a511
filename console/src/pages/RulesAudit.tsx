/** The audit: what anybody, and anybody who signs up, may do to the live data. */

import { Button, NativeSelect } from "@mantine/core";
import {
  IconCircleCheck,
  IconPlayerPlay,
  IconPlayerStop,
  IconShieldSearch,
} from "@tabler/icons-react";
import { type ReactNode, useEffect, useRef, useState } from "react";
import { type AuditEvent, type AuditFinding, auditRules } from "../api/audit";
import { messageOf } from "../api/client";
import { Empty, toastError } from "../components/feedback";
import { splitPath } from "../model/paths";
import { dataHash } from "../model/routes";

const SAMPLES = ["5", "20", "100", "500"];

interface Progress {
  status: "running" | "done" | "stopped" | "failed";
  at: string;
  findings: readonly AuditFinding[];
  end: Extract<AuditEvent, { kind: "done" }> | null;
  error: unknown;
}

const STARTED: Progress = { status: "running", at: "", findings: [], end: null, error: null };

export function RulesAudit({ project }: { project: string }): ReactNode {
  const [sample, setSample] = useState("20");
  const [progress, setProgress] = useState<Progress | null>(null);
  const running = useRef<AbortController | null>(null);
  useEffect(() => () => running.current?.abort(), []);
  const isRunning = progress?.status === "running";

  function tell(event: AuditEvent): void {
    setProgress((old) => {
      const now = old ?? STARTED;
      if (event.kind === "finding") return { ...now, findings: [...now.findings, event.finding] };
      if (event.kind === "progress") return { ...now, at: `${event.place}: ${event.path}` };
      return { ...now, status: "done", end: event };
    });
  }

  async function run(): Promise<void> {
    const control = new AbortController();
    running.current = control;
    setProgress(STARTED);
    try {
      await auditRules(project, Number(sample), control.signal, tell);
    } catch (error) {
      const status = control.signal.aborted ? "stopped" : "failed";
      setProgress((old) => ({ ...(old ?? STARTED), status, error }));
      if (status === "failed") toastError("The audit broke off", error);
    }
  }

  return (
    <>
      <div className="bar sub-bar wraps">
        <span className="muted small truncate grow" role="status">
          {progress === null ? "" : statusOf(progress)}
        </span>
        <NativeSelect
          aria-label="Documents of each collection"
          data={SAMPLES.map((value) => ({ value, label: `${value} of each collection` }))}
          value={sample}
          disabled={isRunning}
          onChange={(event) => setSample(event.currentTarget.value)}
        />
        {isRunning ? (
          <Button
            variant="default"
            leftSection={<IconPlayerStop size={15} />}
            onClick={() => running.current?.abort()}
          >
            Stop
          </Button>
        ) : (
          <Button leftSection={<IconPlayerPlay size={15} />} onClick={run}>
            {progress === null ? "Run the audit" : "Run again"}
          </Button>
        )}
      </div>
      <div className="page">
        {progress === null && (
          <Empty icon={<IconShieldSearch />} title="What can strangers do?">
            The rules in force are asked, as nobody and as a user who has just signed up, about a
            sample of the live documents and files: what could be read, changed, deleted? Nothing is
            written.
          </Empty>
        )}
        {progress !== null && progress.findings.length > 0 && (
          <Findings project={project} findings={progress.findings} />
        )}
        {progress?.status === "done" && progress.findings.length === 0 && (
          <Empty icon={<IconCircleCheck />} title="Strangers can do nothing">
            None of the {progress.end?.decisions.toLocaleString("en")} questions was answered with
            yes.
          </Empty>
        )}
      </div>
    </>
  );
}

function statusOf({ status, at, findings, end, error }: Progress): string {
  const found = `${findings.length} finding${findings.length === 1 ? "" : "s"}`;
  if (status === "running") return `Looking at ${at === "" ? "the project" : at} · ${found}`;
  if (status === "stopped") return `Stopped · ${found} so far`;
  if (status === "failed") return `${messageOf(error)} · ${found} so far`;
  const asked = end?.decisions.toLocaleString("en") ?? "0";
  const rest = end?.complete === false ? " · there is more data than was looked at" : "";
  return `Done: ${found} of ${asked} decisions${rest}`;
}

const WRITES = ["create", "update", "delete"];

function Findings({
  project,
  findings,
}: {
  project: string;
  findings: readonly AuditFinding[];
}): ReactNode {
  return (
    <table className="grid still audit-grid">
      <thead>
        <tr>
          <th scope="col">
            <span>Where</span>
          </th>
          <th scope="col">
            <span>Who</span>
          </th>
          <th scope="col">
            <span>May</span>
          </th>
          <th scope="col">
            <span>Of the sample</span>
          </th>
          <th scope="col" className="wide-only">
            <span>Example</span>
          </th>
          <th scope="col" className="wide-only">
            <span>In</span>
          </th>
        </tr>
      </thead>
      <tbody>
        {findings.map((one) => (
          <tr key={`${one.service} ${one.place} ${one.path} ${one.caller} ${one.method}`}>
            <td className="mono" style={{ paddingLeft: 14 }} title={one.path}>
              {one.path}
            </td>
            <td>{one.caller === "anonymous" ? "anybody" : "any user"}</td>
            <td>
              <span className="badge" data-tone={WRITES.includes(one.method) ? "danger" : "warn"}>
                {one.method}
              </span>
            </td>
            <td>
              {one.allowed} of {one.tried}
            </td>
            <td className="mono muted wide-only" title={one.example}>
              {one.service === "firebase.storage" ? (
                one.example
              ) : (
                <a className="link" href={dataHash(project, one.place, splitPath(one.example))}>
                  {one.example}
                </a>
              )}
            </td>
            <td className="muted wide-only">
              {one.service === "firebase.storage" ? "bucket " : ""}
              {one.place}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
