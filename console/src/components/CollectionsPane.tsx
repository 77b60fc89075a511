import { Button, TextInput } from "@mantine/core";
import { IconDatabase, IconFolder, IconPlus, IconRefresh } from "@tabler/icons-react";
import { type ReactNode, useState } from "react";
import { type Loaded, useRefresh } from "../api/hooks";
import type { Segments } from "../model/paths";
import { dataHash } from "../model/routes";
import { IconAction } from "./controls";
import { Empty, Failed, Loading } from "./feedback";
import { NewDocument } from "./NewDocument";

const REFRESH_MS = 10_000;
// So many are found by looking.
const SOUGHT_FROM = 15;

/** The root collections. They have no live query: the list is asked for again now and then. */
export function CollectionsPane({
  project,
  database,
  path,
  loaded,
}: {
  project: string;
  database: string;
  path: Segments;
  loaded: Loaded<string[]>;
}): ReactNode {
  const [isCreating, setCreating] = useState(false);
  const [sought, setSought] = useState("");
  const { reload, data } = loaded;
  useRefresh(reload, REFRESH_MS);
  // A collection appears with its first document.
  const here = path[0];
  const isMissing = here !== undefined && data !== undefined && !data.includes(here);
  const shown = isMissing ? [...data, here].sort() : data;
  const isSought = shown !== undefined && shown.length > SOUGHT_FROM;
  const wanted = isSought ? sought.trim().toLowerCase() : "";
  const found = (shown ?? []).filter((id) => id.toLowerCase().includes(wanted));

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
        {isSought && (
          <div className="sought">
            <TextInput
              aria-label="Find a collection"
              placeholder={`Find among ${shown.length.toLocaleString("en")}`}
              value={sought}
              onChange={(event) => setSought(event.currentTarget.value)}
              spellCheck={false}
              autoComplete="off"
            />
          </div>
        )}
        {shown !== undefined && shown.length > 0 && found.length === 0 && (
          <p className="note muted small">No collection has this in its id.</p>
        )}
        {found.length > 0 && (
          <ul className="list">
            {found.map((id) => (
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
