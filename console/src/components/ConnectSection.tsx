/** How an app begins to use the project: its first lines, filled in. */

import { SegmentedControl } from "@mantine/core";
import { type ReactNode, useState } from "react";
import { listKeys } from "../api/admin";
import { useLoaded } from "../api/hooks";
import { connectCode, LANGUAGES, type Language } from "../model/connect";
import { Copy } from "./controls";

const NAMES: Readonly<Record<Language, string>> = { python: "Python", curl: "curl" };

export function ConnectSection({ project }: { project: string }): ReactNode {
  return (
    <section className="section" aria-labelledby="connect">
      <header>
        <div>
          <h2 id="connect">Connect an app</h2>
          <p>What a signed-in user may then do is for the project's rules to say.</p>
        </div>
      </header>
      <ConnectCode project={project} />
    </section>
  );
}

/** What stands where a project has no documents yet. */
export function FirstDocuments({ project }: { project: string }): ReactNode {
  return (
    <div className="first-documents">
      <h2>Write the first document</h2>
      <p className="muted">
        Start a collection beside this, or write from an app. Documents appear here as they come.
      </p>
      <ConnectCode project={project} />
    </div>
  );
}

export function ConnectCode({ project }: { project: string }): ReactNode {
  const [language, setLanguage] = useState<Language>("python");
  const keys = useLoaded(`keys ${project}`, () => listKeys(project));
  const key = keys.data?.find(({ kind, revoked }) => kind === "publishable" && revoked === null);
  const code = connectCode(language, { url: location.origin, project, key: key?.text ?? null });
  return (
    <div className="card connect">
      <div className="row">
        <SegmentedControl
          aria-label="Language"
          data={LANGUAGES.map((value) => ({ value, label: NAMES[value] }))}
          value={language}
          onChange={(value) => setLanguage(value as Language)}
        />
        <span className="grow" />
        <Copy text={code} label="Copy the code" />
      </div>
      <pre tabIndex={0}>{code}</pre>
    </div>
  );
}
