/** What documents look like: an editor, a check of what is stored, deployment, history. */

import "../data.css";
import { Button, Menu } from "@mantine/core";
import { IconHistory, IconPlus, IconSchema, IconTrash } from "@tabler/icons-react";
import { type ReactNode, useEffect, useMemo, useState } from "react";
import { messageOf } from "../api/client";
import { useLoaded } from "../api/hooks";
import { checkSchemas, getSchemas, listSchemaReleases, type SchemaRelease } from "../api/schemas";
import { IconAction } from "../components/controls";
import { Empty, Failed, Loading, toast, toastError } from "../components/feedback";
import { SchemaCheck } from "../components/SchemaCheck";
import { SchemaDeploy } from "../components/SchemaDeploy";
import { SchemaEditor } from "../components/SchemaEditor";
import { shortTime } from "../model/inputs";
import type { Json } from "../model/json";
import { DEFAULT_DATABASE } from "../model/routes";
import {
  collectionOfSchema,
  faultOfSchema,
  isSameSchemas,
  NEW_SCHEMA,
  readSchemas,
  type SchemaText,
  schemaText,
  textsOf,
} from "../model/schemas";
import { useGuard } from "../navigation";

const TYPING_MS = 500;

export function SchemasPage({ project }: { project: string }): ReactNode {
  const loaded = useLoaded(`schemas ${project}`, () => getSchemas(project));
  if (loaded.data === undefined)
    return loaded.loading ? (
      <Loading label="Loading schemas" />
    ) : (
      <Failed title="Schemas could not be loaded" error={loaded.error} onRetry={loaded.reload} />
    );
  return <Editor project={project} deployed={loaded.data} onDeployed={loaded.setData} />;
}

function Editor({
  project,
  deployed,
  onDeployed,
}: {
  project: string;
  deployed: SchemaRelease;
  onDeployed: (release: SchemaRelease) => void;
}): ReactNode {
  const [texts, setTexts] = useState(() => textsOf(deployed.schemas));
  const [chosen, setChosen] = useState<number | null>(() => texts[0]?.key ?? null);
  const [deploying, setDeploying] = useState<Json[] | null>(null);
  const base = useMemo(() => textsOf(deployed.schemas), [deployed]);
  const isDirty = !isSameSchemas(texts, base);
  const shown = texts.find((one) => one.key === chosen) ?? null;
  const isBroken = texts.some(({ text }) => faultOfSchema(text) !== null);
  const refusal = useRefusal(project, texts, isBroken || texts.length === 0);
  useGuard(isDirty, "The changed schemas", (next) => next.page !== "schemas");

  function add(): void {
    const made = schemaText(NEW_SCHEMA);
    setTexts([...texts, made]);
    setChosen(made.key);
  }

  function replace(schemas: readonly Json[]): void {
    const next = textsOf(schemas);
    setTexts(next);
    setChosen(next[0]?.key ?? null);
  }

  return (
    <>
      <header className="bar">
        <h1>Schemas</h1>
        {isDirty && (
          <span className="badge" data-tone="warn">
            not deployed
          </span>
        )}
        <span className="grow" />
        <HistoryMenu project={project} deployed={deployed} onEdit={replace} />
        {isDirty && (
          <Button variant="default" onClick={() => replace(deployed.schemas)}>
            Discard
          </Button>
        )}
        <Button
          disabled={!isDirty || isBroken || refusal !== null}
          onClick={() => setDeploying(readSchemas(texts))}
        >
          Deploy…
        </Button>
      </header>
      <div className="schemas">
        <section className="pane tint" aria-label="Collections with a schema">
          <div className="pane-head">
            <h2 className="grow">Collections</h2>
            <IconAction label="Add a schema" onClick={add} data-key="n">
              <IconPlus size={16} />
            </IconAction>
          </div>
          <div className="pane-body">
            <ul className="schema-list">
              {texts.map(({ key, text }) => (
                <li key={key}>
                  <button
                    type="button"
                    className="bare schema-link truncate"
                    aria-current={key === chosen ? "true" : undefined}
                    onClick={() => setChosen(key)}
                  >
                    {collectionOfSchema(text) || "no collection"}
                    {faultOfSchema(text) !== null && (
                      <span className="badge" data-tone="danger">
                        fault
                      </span>
                    )}
                  </button>
                  <button
                    type="button"
                    className="bare"
                    aria-label={`Remove the schema of ${collectionOfSchema(text)}`}
                    onClick={() => setTexts(texts.filter((one) => one.key !== key))}
                  >
                    <IconTrash size={14} />
                  </button>
                </li>
              ))}
            </ul>
          </div>
        </section>
        <section className="pane" aria-label="Schema">
          {shown === null ? (
            <Empty
              icon={<IconSchema />}
              title={texts.length === 0 ? "No schemas" : "Choose a schema"}
              action={<Button onClick={add}>Add a schema</Button>}
            >
              A schema says what documents of a collection look like. A write that does not fit is
              refused with the path of each failing field.
            </Empty>
          ) : (
            <SchemaEditor
              key={shown.key}
              text={shown.text}
              refusal={refusal}
              onChange={(text) =>
                setTexts((old) =>
                  old.map((one) => (one.key === shown.key ? { ...one, text } : one)),
                )
              }
            />
          )}
          {texts.length > 0 && (
            <SchemaCheck project={project} texts={texts} disabled={isBroken || refusal !== null} />
          )}
        </section>
      </div>
      {deploying !== null && (
        <SchemaDeploy
          project={project}
          base={deployed}
          schemas={deploying}
          onBase={onDeployed}
          onClose={() => setDeploying(null)}
          onDeployed={(release) => {
            setDeploying(null);
            onDeployed(release);
            setTexts(textsOf(release.schemas));
            setChosen(null);
            toast("The schemas are in force");
          }}
        />
      )}
    </>
  );
}

/** What the server has against the schemas, asked a while after the last change. */
function useRefusal(project: string, texts: readonly SchemaText[], isIdle: boolean): string | null {
  const [refusal, setRefusal] = useState<string | null>(null);
  useEffect(() => {
    setRefusal(null);
    if (isIdle) return undefined;
    const control = new AbortController();
    const timer = setTimeout(() => {
      checkSchemas(project, DEFAULT_DATABASE, readSchemas(texts), 1, null, control.signal).catch(
        (error: unknown) => !control.signal.aborted && setRefusal(messageOf(error)),
      );
    }, TYPING_MS);
    return () => {
      clearTimeout(timer);
      control.abort();
    };
  }, [project, texts, isIdle]);
  return refusal;
}

function HistoryMenu({
  project,
  deployed,
  onEdit,
}: {
  project: string;
  deployed: SchemaRelease;
  onEdit: (schemas: readonly Json[]) => void;
}): ReactNode {
  const loaded = useLoaded(`schema releases ${project} ${deployed.id}`, () =>
    listSchemaReleases(project),
  );
  const releases = loaded.data ?? [];
  if (releases.length === 0) return null;

  async function edit(id: string): Promise<void> {
    try {
      onEdit((await getSchemas(project, id)).schemas);
    } catch (error) {
      toastError("The release could not be loaded", error);
    }
  }

  return (
    <Menu position="bottom-end" width={320}>
      <Menu.Target>
        <Button variant="default" leftSection={<IconHistory size={15} />}>
          History
        </Button>
      </Menu.Target>
      <Menu.Dropdown style={{ maxHeight: 420, overflowY: "auto" }}>
        <Menu.Label>A release is opened in the editor; deploy it to go back</Menu.Label>
        {releases.map((one) => (
          <Menu.Item key={one.id} onClick={() => void edit(one.id)}>
            <span className="breaks">{one.message === "" ? "No message" : one.message}</span>
            <span className="muted small" style={{ display: "block" }}>
              {one.deployedAt !== null && shortTime(one.deployedAt)} · {one.author ?? ""}
              {one.id === deployed.id && " · in force"}
            </span>
          </Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}
