import { Button } from "@mantine/core";
import { IconArrowLeft, IconPlayerPlay } from "@tabler/icons-react";
import type { ReactNode } from "react";
import type { Denial } from "../api/denials";
import { useLoaded } from "../api/hooks";
import { getRelease, type Rules } from "../api/rules";
import { shortTime } from "../model/inputs";
import { DEFAULT_DATABASE, rulesHash } from "../model/routes";
import { EMPTY_TRIAL, METHODS, type Method, type TrialForm } from "../model/trials";
import type { Span } from "../rules/positions";
import { Copy } from "./controls";
import { Why } from "./Explanation";

/** One denial: who asked what, and why it was denied. */
export function DenialPane({
  project,
  denial,
  deployed,
  onJump,
  onClose,
  onTry,
}: {
  project: string;
  denial: Denial;
  deployed: Rules;
  onJump: (span: Span) => void;
  onClose: () => void;
  onTry: (form: TrialForm) => void;
}): ReactNode {
  const { release } = denial;
  const isInForce = release === deployed.id;
  const older = useLoaded(`denied by ${project} ${release} ${isInForce}`, async () =>
    release === null || isInForce ? null : getRelease(project, release),
  );
  // Places are of the rules that denied.
  const source = isInForce ? deployed.source : older.data?.source;
  const place = { source, onJump: isInForce ? onJump : undefined };
  return (
    <section className="pane" aria-label="Denial">
      <div className="pane-head">
        <button
          type="button"
          className="bare narrow-only"
          aria-label="All denials"
          onClick={onClose}
        >
          <IconArrowLeft size={18} />
        </button>
        <h2 className="grow truncate">
          {denial.method} of /{denial.path}
        </h2>
        <Button
          variant="default"
          size="compact-xs"
          leftSection={<IconPlayerPlay size={14} />}
          onClick={() => onTry(trialOf(denial))}
        >
          Try in the playground
        </Button>
      </div>
      <div className="pane-body">
        <dl className="facts">
          <dt>Request id</dt>
          <dd>
            <code className="breaks">{denial.requestId}</code>
            <Copy text={denial.requestId} label="Copy the request id" />
          </dd>
          <dt>Time</dt>
          <dd>{shortTime(denial.time)}</dd>
          <dt>Caller</dt>
          <dd className="breaks">
            {denial.uid === null ? denial.caller : <code>{denial.uid}</code>}
          </dd>
          <dt>{denial.service === "firebase.storage" ? "Bucket" : "Database"}</dt>
          <dd>{denial.place}</dd>
          <dt>Rules</dt>
          <dd>
            {denial.release === null ? (
              "not known"
            ) : (
              <a className="link" href={rulesHash(project, "history", { release: denial.release })}>
                <code>{denial.release}</code>
              </a>
            )}
          </dd>
        </dl>
        {denial.explained.attempts.length + denial.explained.reasons.length === 0 ? (
          <pre className="note text">{denial.text}</pre>
        ) : (
          <div className="explanation">
            <Why told={denial.explained} {...place} />
          </div>
        )}
      </div>
    </section>
  );
}

/** The same request again: on the data of now, at the time of then. */
function trialOf(denial: Denial): TrialForm {
  const ofObjects = denial.service === "firebase.storage";
  return {
    ...EMPTY_TRIAL,
    service: ofObjects ? "objects" : "documents",
    database: ofObjects ? DEFAULT_DATABASE : denial.place,
    bucket: ofObjects ? denial.place : "",
    method: (METHODS as readonly string[]).includes(denial.method)
      ? (denial.method as Method)
      : "get",
    path: denial.path,
    caller: denial.uid === null ? "nobody" : "user",
    user: denial.uid ?? "",
    time: denial.time,
  };
}
