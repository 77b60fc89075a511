import { Button, TextInput } from "@mantine/core";
import { IconPlus, IconSearch, IconStack2 } from "@tabler/icons-react";
import { type ReactNode, useState } from "react";
import { createKey, createProject, listKeys, type Project } from "../api/admin";
import type { Loaded } from "../api/hooks";
import { Copy } from "../components/controls";
import { Dialog } from "../components/Dialog";
import { FormDialog } from "../components/FormDialog";
import { Empty, Loadable } from "../components/feedback";
import { shortTime } from "../model/inputs";
import { DEFAULT_DATABASE, dataHash } from "../model/routes";
import { navigate } from "../navigation";

const SEARCHED_FROM = 8;

export function ProjectsPage({ projects }: { projects: Loaded<Project[]> }): ReactNode {
  const [isCreating, setCreating] = useState(false);
  return (
    <>
      <header className="bar">
        <h1 className="grow">Projects</h1>
        <Button leftSection={<IconPlus size={15} />} onClick={() => setCreating(true)} data-key="n">
          New project
        </Button>
      </header>
      <div className="page">
        <div className="sheet">
          <ProjectList projects={projects} onCreate={() => setCreating(true)} />
        </div>
      </div>
      {isCreating && (
        <NewProject
          onClose={(created) => {
            setCreating(false);
            if (created !== null) projects.reload();
          }}
        />
      )}
    </>
  );
}

function ProjectList({
  projects,
  onCreate,
}: {
  projects: Loaded<Project[]>;
  onCreate: () => void;
}): ReactNode {
  return (
    <Loadable loaded={projects} what="projects">
      {(items) => <Projects items={items} onCreate={onCreate} />}
    </Loadable>
  );
}

function Projects({
  items,
  onCreate,
}: {
  items: readonly Project[];
  onCreate: () => void;
}): ReactNode {
  const [search, setSearch] = useState("");
  if (items.length === 0)
    return (
      <Empty
        icon={<IconStack2 />}
        title="No projects yet"
        action={<Button onClick={onCreate}>Create the first project</Button>}
      >
        A project holds an app's documents, rules and users, apart from all others.
      </Empty>
    );
  const wanted = search.trim().toLowerCase();
  const shown = items.filter(({ id, name }) => `${id} ${name}`.toLowerCase().includes(wanted));
  return (
    <>
      {items.length > SEARCHED_FROM && (
        <TextInput
          aria-label="Find a project"
          placeholder="Find a project"
          leftSection={<IconSearch size={15} />}
          value={search}
          onChange={(event) => setSearch(event.currentTarget.value)}
          mb={12}
        />
      )}
      {shown.length === 0 && <p className="muted">No project is called so.</p>}
      <ul className="projects">
        {shown.map((project) => (
          <li key={project.id}>
            <a className="project" href={dataHash(project.id, DEFAULT_DATABASE, [])}>
              <strong className="truncate">{project.name}</strong>
              {project.name !== project.id && <code className="muted truncate">{project.id}</code>}
              <span className="muted small" style={{ marginTop: "auto" }}>
                {project.created === "" ? "" : `Created ${shortTime(project.created).slice(0, 10)}`}
              </span>
            </a>
          </li>
        ))}
      </ul>
    </>
  );
}

/** A project id that the server takes, made of a name. */
export function idOfName(name: string): string {
  return name
    .normalize("NFKD")
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^[^a-z]+|-+$/g, "")
    .slice(0, 30);
}

function NewProject({ onClose }: { onClose: (created: Project | null) => void }): ReactNode {
  const [name, setName] = useState("");
  const [id, setId] = useState<string | null>(null);
  const [created, setCreated] = useState<{ project: Project; key: string | null } | null>(null);
  const shownId = id ?? idOfName(name);
  const fault =
    shownId !== "" && !/^[a-z][a-z0-9-]{2,29}$/.test(shownId)
      ? "3 to 30 of a-z, 0-9 and -, a letter first."
      : null;

  if (created !== null)
    return (
      <Dialog onClose={() => onClose(created.project)} title="Project created">
        <div className="stack">
          <p>
            Apps name the project <code>{created.project.id}</code> and show this publishable key.
            It gives no rights by itself: the rules decide.
          </p>
          {created.key !== null && (
            <div className="secret">
              <span className="grow">{created.key}</span>
              <Copy text={created.key} label="Copy key" />
            </div>
          )}
          <p className="muted">Everything is denied until you deploy rules.</p>
          <div className="form-actions">
            <Button
              data-autofocus
              onClick={() => {
                onClose(created.project);
                navigate(dataHash(created.project.id, DEFAULT_DATABASE, []));
              }}
            >
              Open project
            </Button>
          </div>
        </div>
      </Dialog>
    );
  return (
    <FormDialog
      title="New project"
      action="Create project"
      disabled={shownId === "" || fault !== null}
      onSubmit={async () => {
        const project = await createProject(shownId, name.trim());
        setCreated({ project, key: await publishableKey(project.id) });
        return false;
      }}
      onClose={() => onClose(null)}
    >
      <TextInput
        label="Name"
        value={name}
        onChange={(event) => setName(event.currentTarget.value)}
        placeholder="City guide"
        data-autofocus
      />
      <TextInput
        label="Project id"
        description="Part of every address; it cannot be changed later."
        value={shownId}
        onChange={(event) => setId(event.currentTarget.value)}
        error={fault}
        spellCheck={false}
        autoComplete="off"
        styles={{ input: { fontFamily: "var(--mono)" } }}
      />
    </FormDialog>
  );
}

/** The project's publishable key: the one that it was born with, or a new one. */
async function publishableKey(project: string): Promise<string | null> {
  const keys = await listKeys(project);
  const found = keys.find((key) => key.kind === "publishable" && key.revoked === null);
  return (found ?? (await createKey(project, "publishable", "default"))).text;
}
