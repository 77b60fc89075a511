import { Button } from "@mantine/core";
import { IconDatabase, IconFolder, IconPlus, IconRefresh } from "@tabler/icons-react";
import { type ReactNode, useState } from "react";
import { listCollections } from "../api/admin";
import { useLoaded, useRefresh } from "../api/hooks";
import type { Segments } from "../model/paths";
import { dataHash } from "../model/routes";
import { IconAction } from "./controls";
import { Empty, Failed, Loading } from "./feedback";
import { NewDocument } from "./NewDocument";

const REFRESH_MS = 10_000;

/** The root collections. They have no live query: the list is asked for again now and then. */
export function CollectionsPane({
  project,
  database,
  path,
}: {
  project: string;
  database: string;
  path: Segments;
}): ReactNode {
  const [isCreating, setCreating] = useState(false);
  const loaded = useLoaded(`collections ${project} ${database}`, () =>
    listCollections(project, database, null),
  );
  const { reload, data } = loaded;
  useRefresh(reload, REFRESH_MS);
  // A collection appears with its first document.
  const here = path[0];
  const isMissing = here !== undefined && data !== undefined && !data.includes(here);
  const shown = isMissing ? [...data, here].sort() : data;

  return (
    <section className="pane tint collections" aria-label="Collections">
      <div className="pane-head">
        <h2 className="grow">Collections</h2>
        <IconAction label="Refresh collections" onClick={reload}>
          <IconRefresh size={15} />
        </IconAction>
        <IconAction
          label="Start a collection"
          onClick={() => setCreating(true)}
          {...(path.length === 0 ? { "data-key": "n" } : {})}
        >
          <IconPlus size={16} />
        </IconAction>
      </div>
      <div className="pane-body">
        {data === undefined && loaded.loading && <Loading label="Loading collections" />}
        {data === undefined && !loaded.loading && (
          <Failed title="Collections could not be loaded" error={loaded.error} onRetry={reload} />
        )}
        {shown?.length === 0 && (
          <Empty
            icon={<IconDatabase />}
            title="Nothing here yet"
            action={
              <Button variant="default" onClick={() => setCreating(true)}>
                Start a collection
              </Button>
            }
          >
            A collection appears with its first document.
          </Empty>
        )}
        {shown !== undefined && shown.length > 0 && (
          <ul className="list">
            {shown.map((id) => (
              <li key={id}>
                <a
                  href={dataHash(project, database, [id])}
                  aria-current={id === here ? "true" : undefined}
                  title={id}
                >
                  <IconFolder aria-hidden /> <span className="truncate">{id}</span>
                </a>
              </li>
            ))}
          </ul>
        )}
      </div>
      {isCreating && (
        <NewDocument
          project={project}
          database={database}
          collection={null}
          onClose={(made) => {
            setCreating(false);
            if (made) reload();
          }}
        />
      )}
    </section>
  );
}
