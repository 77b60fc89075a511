import { Button, NativeSelect, Textarea, TextInput } from "@mantine/core";
import { IconDatabase, IconKey, IconPlus, IconTrash } from "@tabler/icons-react";
import { type FormEvent, type ReactNode, useState } from "react";
import {
  type ApiKey,
  createDatabase,
  createKey,
  deleteProject,
  getProject,
  listDatabases,
  listKeys,
  type Project,
  revokeKey,
  updateProject,
} from "../api/admin";
import { messageOf } from "../api/client";
import { useLoaded } from "../api/hooks";
import { Confirm } from "../components/Confirm";
import { Copy, IconAction } from "../components/controls";
import { Dialog } from "../components/Dialog";
import { Failed, Loading, toast } from "../components/feedback";
import { shortTime } from "../model/inputs";
import { dataHash } from "../model/routes";
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
          {loaded.data === undefined && loaded.loading && <Loading label="Loading the project" />}
          {loaded.data === undefined && !loaded.loading && (
            <Failed
              title="The project could not be loaded"
              error={loaded.error}
              onRetry={loaded.reload}
            />
          )}
          {loaded.data !== undefined && (
            <>
              <General
                project={loaded.data}
                onChange={(next) => {
                  loaded.setData(next);
                  onChange();
                }}
              />
              <Keys project={project} />
              <Databases project={project} />
              <section className="section" aria-labelledby="danger">
                <header>
                  <h2 id="danger">Delete project</h2>
                </header>
                <div className="card card-row">
                  <p className="grow muted">
                    Deletes all documents, users, keys and rules of this project at once.
                  </p>
                  <Button
                    color="red"
                    variant="light"
                    c="var(--danger)"
                    onClick={() => setDeleting(true)}
                  >
                    Delete project…
                  </Button>
                </div>
              </section>
            </>
          )}
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

function Keys({ project }: { project: string }): ReactNode {
  const loaded = useLoaded(`keys ${project}`, () => listKeys(project));
  const [isCreating, setCreating] = useState(false);
  const [revoking, setRevoking] = useState<ApiKey | null>(null);
  return (
    <section className="section" aria-labelledby="keys">
      <header>
        <div className="grow">
          <h2 id="keys">API keys</h2>
          <p>
            Publishable keys stand in apps and give no rights. Secret keys pass the rules: keep them
            on servers.
          </p>
        </div>
        <Button
          variant="default"
          leftSection={<IconPlus size={15} />}
          onClick={() => setCreating(true)}
        >
          New key
        </Button>
      </header>
      <div className="card">
        {loaded.data === undefined && loaded.loading && <Loading label="Loading keys" />}
        {loaded.data === undefined && !loaded.loading && (
          <Failed title="Keys could not be loaded" error={loaded.error} onRetry={loaded.reload} />
        )}
        {loaded.data?.length === 0 && (
          <p className="card-row muted">No keys. Apps need a publishable one to sign users in.</p>
        )}
        {loaded.data?.map((key) => (
          <KeyRow key={key.id} apiKey={key} onRevoke={() => setRevoking(key)} />
        ))}
      </div>
      {isCreating && (
        <NewKey
          project={project}
          onClose={(made) => {
            setCreating(false);
            if (made) loaded.reload();
          }}
        />
      )}
      {revoking !== null && (
        <Confirm
          title="Revoke this key?"
          action="Revoke key"
          danger
          onClose={() => setRevoking(null)}
          onConfirm={async () => {
            await revokeKey(project, revoking.id);
            toast("The key is revoked");
            loaded.reload();
          }}
        >
          <p>
            Whatever uses <code>{revoking.prefix}…</code> stops working at once. This cannot be
            undone.
          </p>
        </Confirm>
      )}
    </section>
  );
}

function KeyRow({ apiKey, onRevoke }: { apiKey: ApiKey; onRevoke: () => void }): ReactNode {
  const { kind, name, text, prefix, revoked, created } = apiKey;
  return (
    <div className="card-row">
      <IconKey size={16} className="muted" aria-hidden />
      <div className="grow">
        <div className="row" style={{ gap: 6 }}>
          <code className="truncate" style={revoked === null ? {} : { opacity: 0.6 }}>
            {text ?? `${prefix}…`}
          </code>
          {text !== null && revoked === null && <Copy text={text} label="Copy key" />}
        </div>
        <div className="muted small truncate">
          {name === "" ? "unnamed" : name} · created {shortTime(created)}
        </div>
      </div>
      {revoked === null ? (
        <span className="badge" data-tone={kind === "secret" ? "warn" : undefined}>
          {kind}
        </span>
      ) : (
        <span className="badge" data-tone="danger">
          revoked
        </span>
      )}
      {revoked === null ? (
        <IconAction label={`Revoke ${name === "" ? prefix : name}`} onClick={onRevoke}>
          <IconTrash size={16} />
        </IconAction>
      ) : (
        <span style={{ width: 28 }} />
      )}
    </div>
  );
}

function NewKey({
  project,
  onClose,
}: {
  project: string;
  onClose: (made: boolean) => void;
}): ReactNode {
  const [kind, setKind] = useState<ApiKey["kind"]>("publishable");
  const [name, setName] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const [made, setMade] = useState<ApiKey | null>(null);

  async function submit(event: FormEvent): Promise<void> {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      setMade(await createKey(project, kind, name.trim()));
    } catch (failure) {
      setError(failure);
      setBusy(false);
    }
  }

  if (made !== null)
    return (
      <Dialog onClose={() => onClose(true)} title="Key created">
        <div className="stack">
          <p>
            {made.kind === "secret"
              ? "Copy it now: it is shown only this once. It passes every rule, so keep it out of apps and repositories."
              : "It may stand in apps. You find it on this page again."}
          </p>
          <div className="secret">
            <span className="grow">{made.text}</span>
            <Copy text={made.text ?? ""} label="Copy key" />
          </div>
          <div className="form-actions">
            <Button onClick={() => onClose(true)}>Done</Button>
          </div>
        </div>
      </Dialog>
    );
  return (
    <Dialog onClose={() => onClose(false)} title="New API key" size="sm">
      <form className="stack" onSubmit={submit}>
        <NativeSelect
          label="Kind"
          value={kind}
          onChange={(event) => setKind(event.currentTarget.value as ApiKey["kind"])}
          data={[
            { value: "publishable", label: "Publishable: for apps" },
            { value: "secret", label: "Secret: for servers, passes the rules" },
          ]}
          data-autofocus
        />
        <TextInput
          label="Name"
          placeholder="iOS app"
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
        />
        {error !== null && (
          <p className="error-text" role="alert">
            {messageOf(error)}
          </p>
        )}
        <div className="form-actions">
          <Button variant="default" onClick={() => onClose(false)}>
            Cancel
          </Button>
          <Button type="submit" loading={busy}>
            Create key
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

function Databases({ project }: { project: string }): ReactNode {
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
        {loaded.data === undefined && !loaded.loading && (
          <p className="card-row error-text">{messageOf(loaded.error)}</p>
        )}
        {loaded.data?.map((database) => (
          <div className="card-row" key={database}>
            <IconDatabase size={16} className="muted" aria-hidden />
            <a className="link mono grow" href={dataHash(project, database, [])}>
              {database}
            </a>
          </div>
        ))}
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
