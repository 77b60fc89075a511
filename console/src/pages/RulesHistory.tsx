/** Every release of the rules: who, when, why, what changed; and the way back. */

import { IconHistory } from "@tabler/icons-react";
import type { ReactNode } from "react";
import { listReleases, type Release } from "../api/rules";
import { Empty, Failed, Loading } from "../components/feedback";
import { LoadMore, usePages } from "../components/Listing";
import { type Editing, ReleasePane, titleOf } from "../components/ReleasePane";
import { shortTime } from "../model/inputs";
import { type RulesRoute, rulesHash } from "../model/routes";

const PAGE = 50;
// So many are kept: before the oldest of them was another one.
const KEPT = 100;
const FIRST: Release = {
  id: "default",
  deployedAt: null,
  author: null,
  message: "Before the first deployment: everything is denied",
  rollbackOf: null,
  inForce: false,
};

export function RulesHistory({
  route,
  deployed,
  dirty,
  onEdit,
  onDeployed,
}: Editing & { route: RulesRoute }): ReactNode {
  const { project } = route;
  const loaded = usePages("releases", `${project} ${deployed.id}`, (token) =>
    listReleases(project, PAGE, token),
  );
  const page = loaded.data;
  if (page === undefined)
    return loaded.loading ? (
      <Loading label="Loading the history" />
    ) : (
      <Failed
        title="The history could not be loaded"
        error={loaded.error}
        onRetry={loaded.reload}
      />
    );
  if (page.items.length === 0)
    return (
      <Empty icon={<IconHistory />} title="Nothing was deployed yet">
        Each deployment appears here, with its author, its message and what it changed.
      </Empty>
    );
  const isWhole = page.nextPageToken === null;
  const releases = isWhole ? [...page.items, FIRST] : page.items;
  // Where there is room, the newest one is shown until another is chosen.
  const shown = route.release ?? page.items[0]?.id ?? FIRST.id;
  const chosen = releases.findIndex((one) => one.id === shown);
  const before = releases[chosen + 1]?.id ?? null;
  const isUnknown = before === FIRST.id && page.items.length >= KEPT;

  return (
    <div className="split" data-open={route.release !== null || undefined}>
      <section className="pane" aria-label="Releases">
        <div className="pane-body">
          <ol className="releases">
            {releases.map((release) => (
              <li key={release.id}>
                <ReleaseLink project={project} release={release} isChosen={release.id === shown} />
              </li>
            ))}
          </ol>
          <LoadMore pages={loaded} />
        </div>
      </section>
      <section className="pane" aria-label="Release">
        <ReleasePane
          key={shown}
          project={project}
          id={shown}
          before={chosen < 0 || isUnknown ? null : before}
          deployed={deployed}
          dirty={dirty}
          onEdit={onEdit}
          onDeployed={onDeployed}
        />
      </section>
    </div>
  );
}

function ReleaseLink({
  project,
  release,
  isChosen,
}: {
  project: string;
  release: Release;
  isChosen: boolean;
}): ReactNode {
  return (
    <a
      href={rulesHash(project, "history", { release: release.id })}
      aria-current={isChosen ? "true" : undefined}
    >
      <span className="row">
        <span className="grow truncate message">{titleOf(release)}</span>
        {release.inForce && (
          <span className="badge" data-tone="good">
            in force
          </span>
        )}
      </span>
      <span className="muted small truncate">
        {release.deployedAt !== null &&
          `${shortTime(release.deployedAt)} · ${release.author ?? "author not kept"}`}
      </span>
    </a>
  );
}
