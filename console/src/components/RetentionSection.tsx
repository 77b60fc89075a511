/** How far back a database's history reaches: what is kept, what holds and who said so. */

import { Button } from "@mantine/core";
import { type ReactNode, useState } from "react";
import { useLoaded } from "../api/hooks";
import { getProjectRetention, getRetention, type Said, setRetention } from "../api/retention";
import { formatSize } from "../model/files";
import { exactTime } from "../model/inputs";
import { quantityText, SIZES, SPANS } from "../model/quantities";
import { Loadable, toast, toastError } from "./feedback";
import { RetentionDialog } from "./RetentionDialog";

export function RetentionSection({
  project,
  database,
}: {
  project: string;
  database: string;
}): ReactNode {
  const [changing, setChanging] = useState<{ database: string | null; said: Said } | null>(null);
  const loaded = useLoaded(`retention ${project} ${database}`, async () => {
    const [own, all] = await Promise.all([
      getRetention(project, database),
      getProjectRetention(project),
    ]);
    return { own, all };
  });

  async function takeBack(of: string | null): Promise<void> {
    try {
      await setRetention(project, of, { seconds: null, bytes: null });
      toast("Taken back: what is inherited holds");
    } catch (error) {
      toastError("Not taken back", error);
    }
    loaded.reload();
  }

  return (
    <section className="section" aria-labelledby="retention">
      <header>
        <div className="grow">
          <h2 id="retention">How far back history reaches</h2>
          <p>
            What documents were can be read and restored for a time, or until old versions take too
            much room, whichever is shorter. Then the oldest are forgotten for good.
          </p>
        </div>
      </header>
      <div className="card">
        <Loadable loaded={loaded} what="the retention">
          {({ own, all }) => (
            <>
              <div className="card-row">
                <span className="label">Kept now</span>
                <span className="grow">
                  {formatSize(own.keptBytes)} of old versions and of the log of changes, readable{" "}
                  {own.oldest === null ? "from the beginning" : `since ${exactTime(own.oldest)}`}
                </span>
              </div>
              <SaidRow
                label="This database"
                said={own}
                inheritedFrom="the project"
                onChange={() => setChanging({ database, said: own })}
                onTakeBack={() => takeBack(database)}
              />
              <SaidRow
                label="Project's default"
                said={all}
                inheritedFrom="the server"
                onChange={() => setChanging({ database: null, said: all })}
                onTakeBack={() => takeBack(null)}
              />
            </>
          )}
        </Loadable>
      </div>
      {changing !== null && (
        <RetentionDialog
          project={project}
          database={changing.database}
          said={changing.said}
          onDone={loaded.reload}
          onClose={() => setChanging(null)}
        />
      )}
    </section>
  );
}

function SaidRow({
  label,
  said,
  inheritedFrom,
  onChange,
  onTakeBack,
}: {
  label: string;
  said: Said;
  inheritedFrom: string;
  onChange: () => void;
  onTakeBack: () => Promise<void>;
}): ReactNode {
  const { rule, inForce } = said;
  const isSaid = rule.seconds !== null || rule.bytes !== null;
  const from = (value: number | null) => (value === null ? ` (as ${inheritedFrom})` : "");
  return (
    <div className="card-row" role="group" aria-label={label}>
      <span className="label">{label}</span>
      <span className="grow">
        {quantityText(SPANS, inForce.seconds)}
        <span className="muted">{from(rule.seconds)}</span>, at most{" "}
        {quantityText(SIZES, inForce.bytes)}
        <span className="muted">{from(rule.bytes)}</span>
      </span>
      {isSaid && (
        <Button variant="subtle" onClick={onTakeBack}>
          Back to what {inheritedFrom} says
        </Button>
      )}
      <Button variant="default" onClick={onChange}>
        Change…
      </Button>
    </div>
  );
}
