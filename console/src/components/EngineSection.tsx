/** Where a project lives, and its move to the other engine. */

import { Button, Checkbox, Progress } from "@mantine/core";
import { type ReactNode, useState } from "react";
import { type Engine, getProject } from "../api/admin";
import { isReason } from "../api/client";
import { useLoaded, useRefresh } from "../api/hooks";
import { cancelMove, listMoves, type Move, startMove } from "../api/moves";
import { shortTime } from "../model/inputs";
import { Confirm } from "./Confirm";
import { Loadable, toast, toastError } from "./feedback";

const RUNNING_MS = 1_000;
const NAMES: Readonly<Record<Engine, string>> = { sqlite: "SQLite", mongodb: "MongoDB" };
const STEPS: Readonly<Record<string, string>> = {
  begin: "Beginning",
  copy: "Copying documents",
  follow: "Following what is written meanwhile",
  compare: "Comparing both sides",
  pause: "Holding up writes for a moment",
  clean: "Moved; cleaning up where it was",
};
const TONES = {
  running: "warn",
  undoing: "warn",
  done: "good",
  cancelled: undefined,
  failed: "danger",
} as const;

export function EngineSection({ project }: { project: string }): ReactNode {
  const [moving, setMoving] = useState<Engine | null>(null);
  const loaded = useLoaded(`engine ${project}`, async () => {
    const [found, moves] = await Promise.all([getProject(project), listMoves()]);
    return { found, last: moves.find((one) => one.project === project) ?? null };
  });
  const { data, reload } = loaded;
  const isMoving = data !== undefined && data.found.moving !== null;
  useRefresh(reload, isMoving ? RUNNING_MS : null);

  async function cancel(move: Move): Promise<void> {
    try {
      await cancelMove(move.id);
    } catch (error) {
      toastError("Not cancelled", error);
    }
    reload();
  }

  return (
    <section className="section" aria-labelledby="engine">
      <header>
        <div className="grow">
          <h2 id="engine">Where it lives</h2>
          <p>
            A project moves to the other engine while it is used. Writes wait for a moment at the
            end; listeners begin anew by themselves.
          </p>
        </div>
      </header>
      <div className="card">
        <Loadable loaded={loaded} what="where the project is">
          {({ found, last }) => (
            <>
              <EngineRow
                engine={found.engine}
                node={found.node}
                onMove={found.moving === null ? setMoving : null}
              />
              {last !== null && <MoveRow move={last} onCancel={() => void cancel(last)} />}
            </>
          )}
        </Loadable>
      </div>
      {moving !== null && (
        <ConfirmMove
          project={project}
          engine={moving}
          onDone={reload}
          onClose={() => setMoving(null)}
        />
      )}
    </section>
  );
}

function EngineRow({
  engine,
  node,
  onMove,
}: {
  engine: Engine;
  node: string | null;
  onMove: ((to: Engine) => void) | null;
}): ReactNode {
  const other = engine === "sqlite" ? "mongodb" : "sqlite";
  return (
    <div className="card-row">
      <span className="label">Engine</span>
      <span className="grow">
        {NAMES[engine]}
        {node !== null && (
          <span className="muted">
            , on node <code>{node}</code> alone
          </span>
        )}
      </span>
      {onMove !== null && (
        <Button variant="default" onClick={() => onMove(other)}>
          Move to {NAMES[other]}…
        </Button>
      )}
    </div>
  );
}

function MoveRow({ move, onCancel }: { move: Move; onCancel: () => void }): ReactNode {
  const isOver = move.state !== "running" && move.state !== "undoing";
  const most = Math.max(move.totalDocuments ?? 0, move.documents);
  const told = [
    isOver ? `Begun ${shortTime(move.created)}` : (STEPS[move.step] ?? move.step),
    `${move.documents.toLocaleString("en")} ${move.documents === 1 ? "document" : "documents"}`,
  ];
  if (move.pauseMilliseconds !== null) told.push(`writes waited ${move.pauseMilliseconds} ms`);
  return (
    <div className="card-row" role="group" aria-label={`Move to ${NAMES[move.to]}`}>
      <span className="label">{isOver ? "Last move" : "Moving"}</span>
      <div className="grow">
        <p className="small" role="status">
          To {NAMES[move.to]}{" "}
          <span className="badge" data-tone={TONES[move.state]}>
            {move.state}
          </span>{" "}
          <span className="muted">{told.join(" · ")}</span>
        </p>
        {move.state === "running" && move.step !== "clean" && (
          <Progress.Root size={6}>
            <Progress.Section
              value={most === 0 ? 0 : (move.documents / most) * 100}
              color="petrol"
              aria-label="Progress of the move"
            />
          </Progress.Root>
        )}
        {move.error !== null && <p className="error-text breaks">{move.error}</p>}
      </div>
      {move.state === "running" && move.step !== "clean" && (
        <Button variant="default" onClick={onCancel}>
          Cancel
        </Button>
      )}
    </div>
  );
}

function ConfirmMove({
  project,
  engine,
  onDone,
  onClose,
}: {
  project: string;
  engine: Engine;
  onDone: () => void;
  onClose: () => void;
}): ReactNode {
  const [mustSayHere, setMustSayHere] = useState(false);
  const [isHere, setHere] = useState(false);

  async function start(): Promise<void> {
    try {
      await startMove(project, engine, isHere);
    } catch (error) {
      if (isReason(error, "MoveNeedsNode")) setMustSayHere(true);
      throw error;
    }
    toast(`Project ${project} is on its way to ${NAMES[engine]}`);
    onDone();
  }

  return (
    <Confirm
      title={`Move to ${NAMES[engine]}?`}
      action="Move project"
      onClose={onClose}
      onConfirm={start}
    >
      <p>
        Documents and users are copied and compared while the app goes on. Then writes wait for a
        moment, and go on at {NAMES[engine]}. History does not come along. Until the end it can be
        cancelled.
      </p>
      {mustSayHere && (
        <Checkbox
          label="Into files of this node: other nodes of the server will not serve the project"
          checked={isHere}
          onChange={(event) => setHere(event.currentTarget.checked)}
        />
      )}
    </Confirm>
  );
}
