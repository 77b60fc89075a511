/** The project's API keys: made, shown, revoked. */

import { Button, NativeSelect, TextInput } from "@mantine/core";
import { IconKey, IconPlus, IconTrash } from "@tabler/icons-react";
import { type ReactNode, useState } from "react";
import { type ApiKey, createKey, listKeys, revokeKey } from "../api/admin";
import { useLoaded } from "../api/hooks";
import { shortTime } from "../model/inputs";
import { Confirm } from "./Confirm";
import { Copy, IconAction } from "./controls";
import { Dialog } from "./Dialog";
import { FormDialog } from "./FormDialog";
import { Loadable, toast } from "./feedback";

export function KeysSection({ project }: { project: string }): ReactNode {
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
        <Loadable loaded={loaded} what="keys">
          {(found) => (
            <>
              {found.length === 0 && (
                <p className="card-row muted">
                  No keys. Apps need a publishable one to sign users in.
                </p>
              )}
              {found.map((key) => (
                <KeyRow key={key.id} apiKey={key} onRevoke={() => setRevoking(key)} />
              ))}
            </>
          )}
        </Loadable>
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
  const [made, setMade] = useState<ApiKey | null>(null);

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
    <FormDialog
      title="New API key"
      action="Create key"
      size="sm"
      onSubmit={async () => {
        setMade(await createKey(project, kind, name.trim()));
        return false;
      }}
      onClose={() => onClose(false)}
    >
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
    </FormDialog>
  );
}
