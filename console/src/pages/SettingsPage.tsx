import { Button, Textarea, TextInput } from "@mantine/core";
import { type FormEvent, type ReactNode, useState } from "react";
import { deleteProject, getProject, type Project, updateProject } from "../api/admin";
import { messageOf } from "../api/client";
import { useLoaded } from "../api/hooks";
import { Confirm } from "../components/Confirm";
import { ConnectSection } from "../components/ConnectSection";
import { Copy } from "../components/controls";
import { DatabasesSection } from "../components/DatabasesSection";
import { EngineSection } from "../components/EngineSection";
import { Loadable, toast } from "../components/feedback";
import { KeysSection } from "../components/KeysSection";
import { navigate, useGuard } from "../navigation";

export function SettingsPage({
  project,
  onChange,
}: {
  project: string;
  onChange: () => void;
}): ReactNode {
  const loaded = useLoaded(`project ${project}`, () => getProject(project));
  const [isDeleting, setDeleting] = useState(false);
  return (
    <>
      <header className="bar">
        <h1>Settings</h1>
      </header>
      <div className="page">
        <div className="sheet">
          <Loadable loaded={loaded} what="the project">
            {(found) => (
              <>
                <General
                  project={found}
                  onChange={(next) => {
                    loaded.setData(next);
                    onChange();
                  }}
                />
                <ConnectSection project={project} />
                <KeysSection project={project} />
                <DatabasesSection project={project} />
                <EngineSection project={project} />
                <Danger onDelete={() => setDeleting(true)} />
              </>
            )}
          </Loadable>
        </div>
      </div>
      {isDeleting && (
        <Confirm
          title="Delete this project?"
          action="Delete project"
          danger
          typed={project}
          onClose={() => setDeleting(false)}
          onConfirm={async () => {
            await deleteProject(project);
            toast(`Project ${project} is deleted`);
            onChange();
            navigate("#/");
          }}
        >
          <p>All its documents, users, keys and rules are deleted. This cannot be undone.</p>
        </Confirm>
      )}
    </>
  );
}

function Danger({ onDelete }: { onDelete: () => void }): ReactNode {
  return (
    <section className="section" aria-labelledby="danger">
      <header>
        <h2 id="danger">Delete project</h2>
      </header>
      <div className="card card-row">
        <p className="grow muted">
          Deletes all documents, users, keys and rules of this project at once.
        </p>
        <Button color="red" variant="light" c="var(--danger)" onClick={onDelete}>
          Delete project…
        </Button>
      </div>
    </section>
  );
}

function General({
  project,
  onChange,
}: {
  project: Project;
  onChange: (project: Project) => void;
}): ReactNode {
  const [name, setName] = useState(project.name);
  const [origins, setOrigins] = useState(project.origins.join("\n"));
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const wanted = origins
    .split(/[\s,]+/)
    .map((item) => item.replace(/\/+$/, ""))
    .filter((item) => item !== "");
  const dirty = name.trim() !== project.name || wanted.join(" ") !== project.origins.join(" ");
  useGuard(dirty, "The changed settings", () => true);

  async function submit(event: FormEvent): Promise<void> {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      const next = await updateProject(project.id, { name: name.trim(), origins: wanted });
      onChange(next);
      setName(next.name);
      setOrigins(next.origins.join("\n"));
      toast("Settings are saved");
    } catch (failure) {
      setError(failure);
    }
    setBusy(false);
  }

  return (
    <section className="section" aria-labelledby="general">
      <header>
        <h2 id="general">Project</h2>
      </header>
      <form className="card" onSubmit={submit}>
        <div className="card-row">
          <span className="label">Project id</span>
          <code>{project.id}</code>
          <Copy text={project.id} label="Copy project id" />
        </div>
        <div className="card-row">
          <label className="label" htmlFor="project-name">
            Name
          </label>
          <TextInput
            id="project-name"
            className="grow"
            value={name}
            onChange={(event) => setName(event.currentTarget.value)}
          />
        </div>
        <div className="card-row" style={{ alignItems: "flex-start" }}>
          <label className="label" htmlFor="project-origins" style={{ paddingTop: 5 }}>
            Allowed origins
          </label>
          <Textarea
            id="project-origins"
            className="grow"
            autosize
            minRows={2}
            value={origins}
            onChange={(event) => setOrigins(event.currentTarget.value)}
            placeholder="https://app.example.com"
            description="Web pages that may call this project, one a line. Apps that are not web pages need none."
            inputWrapperOrder={["label", "input", "description", "error"]}
            styles={{ input: { fontFamily: "var(--mono)", fontSize: 12 } }}
            spellCheck={false}
          />
        </div>
        {(dirty || error !== null) && (
          <div className="card-row">
            <span className="grow error-text" role="alert">
              {error === null ? "" : messageOf(error)}
            </span>
            <Button
              variant="default"
              onClick={() => {
                setName(project.name);
                setOrigins(project.origins.join("\n"));
                setError(null);
              }}
            >
              Discard
            </Button>
            <Button type="submit" loading={busy}>
              Save
            </Button>
          </div>
        )}
      </form>
    </section>
  );
}
