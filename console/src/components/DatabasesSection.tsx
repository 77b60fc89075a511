/** The project's databases, and a new one. */

import { Button, TextInput } from "@mantine/core";
import { IconDatabase } from "@tabler/icons-react";
import { type FormEvent, type ReactNode, useState } from "react";
import { createDatabase, listDatabases } from "../api/admin";
import { messageOf } from "../api/client";
import { useLoaded } from "../api/hooks";
import { dataHash } from "../model/routes";
import { Loadable, toast } from "./feedback";

export function DatabasesSection({ project }: { project: string }): ReactNode {
  const loaded = useLoaded(`databases ${project}`, () => listDatabases(project));
  const [id, setId] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);

  async function submit(event: FormEvent): Promise<void> {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      await createDatabase(project, id.trim());
      toast(`Database ${id.trim()} is created`);
      setId("");
      loaded.reload();
    } catch (failure) {
      setError(failure);
    }
    setBusy(false);
  }

  return (
    <section className="section" aria-labelledby="databases">
      <header>
        <h2 id="databases">Databases</h2>
      </header>
      <div className="card">
        <Loadable loaded={loaded} what="databases">
          {(found) =>
            found.map((database) => (
              <div className="card-row" key={database}>
                <IconDatabase size={16} className="muted" aria-hidden />
                <a className="link mono grow" href={dataHash(project, database, [])}>
                  {database}
                </a>
              </div>
            ))
          }
        </Loadable>
        <form className="card-row" onSubmit={submit}>
          <TextInput
            className="grow"
            aria-label="Id of a new database"
            placeholder="new-database"
            value={id}
            onChange={(event) => setId(event.currentTarget.value)}
            error={error === null ? null : messageOf(error)}
            spellCheck={false}
          />
          <Button type="submit" variant="default" loading={busy} disabled={id.trim() === ""}>
            Create database
          </Button>
        </form>
      </div>
    </section>
  );
}
