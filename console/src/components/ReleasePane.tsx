/** One release of rules: what it changed, and the way back to it. */

import { Button, SegmentedControl } from "@mantine/core";
import { IconArrowBackUp, IconArrowLeft, IconPencil } from "@tabler/icons-react";
import { type ReactNode, useMemo, useState } from "react";
import { useLoaded } from "../api/hooks";
import { getRelease, type ReleaseNote, type Rules, rollBackRules } from "../api/rules";
import { shortTime } from "../model/inputs";
import { rulesHash } from "../model/routes";
import { navigate } from "../navigation";
import { CodeEditor } from "./CodeEditor";
import { Copy } from "./controls";
import { DeployDialog, diffLanguage } from "./DeployDialog";
import { Failed, Loading, toast } from "./feedback";

export function titleOf(release: ReleaseNote): string {
  if (release.message !== "") return release.message;
  return release.rollbackOf === null ? "No message" : `Back to ${release.rollbackOf}`;
}

/** What the editor holds, and what is in force. */
export interface Editing {
  deployed: Rules;
  /** The editor holds changes. */
  dirty: boolean;
  onEdit: (source: string) => void;
  onDeployed: (rules: Rules) => void;
}

/** A release with what it changed, or how it differs from what is in force. */
export function ReleasePane({
  project,
  id,
  before,
  deployed,
  dirty,
  onEdit,
  onDeployed,
}: Editing & {
  project: string;
  id: string;
  /** The release before it; null: not known. */
  before: string | null;
}): ReactNode {
  const [compared, setCompared] = useState<"before" | "force">("before");
  const [isRolling, setRolling] = useState(false);
  const release = useLoaded(`release ${project} ${id}`, () => getRelease(project, id));
  const older = useLoaded(`release ${project} ${before}`, async () =>
    before === null ? null : getRelease(project, before),
  );
  const found = release.data;
  if (found === undefined)
    return release.loading ? (
      <Loading label="Loading the release" />
    ) : (
      <Failed
        title="The release could not be loaded"
        error={release.error}
        onRetry={release.reload}
      />
    );
  const isInForce = found.id === deployed.id;
  const original = compared === "force" ? deployed.source : older.data?.source;
  return (
    <>
      <ReleaseHead project={project} release={found} isInForce={isInForce} />
      <div className="row release-acts">
        <SegmentedControl
          aria-label="Compare with"
          data={[
            { value: "before", label: "What it changed" },
            { value: "force", label: "Against in force", disabled: isInForce },
          ]}
          value={compared}
          onChange={(value) => setCompared(value as typeof compared)}
        />
        <span className="grow" />
        <Button
          variant="default"
          leftSection={<IconPencil size={15} />}
          disabled={dirty}
          title={dirty ? "The editor holds changes that are not deployed" : undefined}
          onClick={() => onEdit(found.source)}
        >
          Edit
        </Button>
        {!isInForce && (
          <Button leftSection={<IconArrowBackUp size={16} />} onClick={() => setRolling(true)}>
            Roll back to this…
          </Button>
        )}
      </div>
      {original === undefined ? (
        older.loading ? (
          <Loading label="Loading the release before" />
        ) : (
          <p className="note muted">
            The release before it is not kept, or not loaded: compare with what is in force.
          </p>
        )
      ) : (
        <Diff original={original} source={found.source} />
      )}
      {isRolling && (
        <DeployDialog
          project={project}
          base={deployed}
          source={found.source}
          title="Roll back to this release?"
          action="Roll back"
          initialMessage={`Back to ${found.message === "" ? found.id : `“${found.message}”`}`.slice(
            0,
            200,
          )}
          deploy={(deployment) => rollBackRules(project, found.id, deployment)}
          onBase={onDeployed}
          onClose={() => setRolling(false)}
          onDeployed={(rules) => {
            setRolling(false);
            onDeployed(rules);
            navigate(rulesHash(project, "history", { release: rules.id }));
            toast("The old rules are in force again");
          }}
        />
      )}
    </>
  );
}

function ReleaseHead({
  project,
  release,
  isInForce,
}: {
  project: string;
  release: Rules;
  isInForce: boolean;
}): ReactNode {
  return (
    <header className="release-head">
      <div className="row">
        <a className="narrow-only" href={rulesHash(project, "history")} aria-label="All releases">
          <IconArrowLeft size={18} />
        </a>
        <h2 className="grow breaks">{titleOf(release)}</h2>
        {isInForce && (
          <span className="badge" data-tone="good">
            in force
          </span>
        )}
      </div>
      <p className="muted small breaks">
        {release.deployedAt === null
          ? "Before the first deployment"
          : `${shortTime(release.deployedAt)}, by ${release.author ?? "an author who was not kept"}`}
        {release.rollbackOf !== null && (
          <>
            {" · rolled back to "}
            <a
              className="link"
              href={rulesHash(project, "history", { release: release.rollbackOf })}
            >
              <code>{release.rollbackOf}</code>
            </a>
          </>
        )}
      </p>
      <p className="row muted small" style={{ gap: 2 }}>
        <code>{release.id}</code>
        <Copy text={release.id} label="Copy the release's id" />
      </p>
    </header>
  );
}

function Diff({ original, source }: { original: string; source: string }): ReactNode {
  const language = useMemo(() => diffLanguage(original), [original]);
  if (original === source)
    return (
      <>
        <p className="note muted">The texts are the same.</p>
        <div className="fill">
          <CodeEditor value={source} language={language} label="Rules of the release" readOnly />
        </div>
      </>
    );
  return (
    <div className="fill">
      <CodeEditor
        key={source}
        value={source}
        language={language}
        label="Changes of the release"
        readOnly
      />
    </div>
  );
}
