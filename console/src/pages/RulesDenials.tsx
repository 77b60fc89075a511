/** What the rules denied to callers of the app, and why. Callers are never told. */

import { Button, NativeSelect, Switch, TextInput } from "@mantine/core";
import { IconShieldOff } from "@tabler/icons-react";
import { type ReactNode, useEffect, useRef, useState } from "react";
import { type Denial, type DenialPage, listDenials } from "../api/denials";
import type { Rules } from "../api/rules";
import { DenialPane } from "../components/DenialPane";
import { Moment } from "../components/controls";
import { Empty } from "../components/feedback";
import { Listing, usePages } from "../components/Listing";
import { type Column, Table } from "../components/Table";
import { ANY_DENIAL, type DenialFilter, type RulesRoute, rulesHash } from "../model/routes";
import { METHODS, type TrialForm } from "../model/trials";
import { replaceHash } from "../navigation";
import type { Span } from "../rules/positions";

const PAGE = 50;
const REFRESH_MS = 4_000;
const TYPING_MS = 300;

export function RulesDenials({
  route,
  deployed,
  onJump,
  onTry,
}: {
  route: RulesRoute;
  deployed: Rules;
  /** Shows a place of what is in force. */
  onJump: (span: Span) => void;
  onTry: (form: TrialForm) => void;
}): ReactNode {
  const { project, denials: wanted } = route;
  const [isLive, setLive] = useState(true);
  const [chosen, setChosen] = useState<string | null>(null);
  const pages = usePages(
    "denials",
    `${project} ${JSON.stringify(wanted)}`,
    (token) => listDenials(project, wanted, PAGE, token),
    isLive ? REFRESH_MS : null,
  );
  const denial = pages.data?.items.find((one) => keyOf(one) === chosen) ?? null;

  return (
    <>
      <Filters
        wanted={wanted}
        isLive={isLive}
        onLive={setLive}
        onChange={(denials) => replaceHash(rulesHash(project, "denials", { denials }))}
      />
      <div className="split wide-list" data-open={denial !== null || undefined}>
        <section className="pane" aria-label="Denials">
          <div className="pane-body">
            <Listing pages={pages} empty={<None wanted={wanted} />}>
              {({ items }) => (
                <Table
                  label="Denials"
                  className="denials-grid"
                  items={items}
                  keyOf={keyOf}
                  columns={COLUMNS}
                  isSelected={(one) => keyOf(one) === chosen}
                  onChoose={(one) => setChosen(keyOf(one))}
                />
              )}
            </Listing>
          </div>
          {pages.data !== undefined && <Counts counts={pages.data.counts} error={pages.error} />}
        </section>
        {denial !== null && (
          <DenialPane
            project={project}
            denial={denial}
            deployed={deployed}
            onJump={onJump}
            onClose={() => setChosen(null)}
            onTry={onTry}
          />
        )}
      </div>
    </>
  );
}

/** Several denials may have one request id: of a batch, of a connection's listeners. */
function keyOf(denial: Denial): string {
  return `${denial.requestId} ${denial.time} ${denial.method} ${denial.place} ${denial.path}`;
}

function Filters({
  wanted,
  isLive,
  onLive,
  onChange,
}: {
  wanted: DenialFilter;
  isLive: boolean;
  onLive: (live: boolean) => void;
  onChange: (wanted: DenialFilter) => void;
}): ReactNode {
  const [typed, setTyped] = useState(wanted);
  const latest = useRef(onChange);
  latest.current = onChange;
  const address = JSON.stringify(wanted);
  // What the address says, unless it says what was typed.
  const sent = useRef(address);
  useEffect(() => {
    if (address === sent.current) return;
    sent.current = address;
    setTyped(JSON.parse(address) as DenialFilter);
  }, [address]);
  useEffect(() => {
    const text = JSON.stringify(typed);
    if (text === sent.current) return undefined;
    const timer = setTimeout(() => {
      sent.current = text;
      latest.current(typed);
    }, TYPING_MS);
    return () => clearTimeout(timer);
  }, [typed]);
  const input = (name: "requestId" | "path" | "uid", label: string, width: number) => (
    <TextInput
      aria-label={label}
      placeholder={label}
      value={typed[name]}
      onChange={(event) => setTyped({ ...typed, [name]: event.currentTarget.value.trim() })}
      autoComplete="off"
      spellCheck={false}
      w={width}
    />
  );
  const isFiltered = Object.values(typed).some((value) => value !== "");
  return (
    <search className="filters" aria-label="Denials">
      {input("path", "Path", 170)}
      {input("uid", "uid", 130)}
      <NativeSelect
        aria-label="Method"
        data={[{ value: "", label: "any method" }, ...METHODS]}
        value={typed.method}
        onChange={(event) => setTyped({ ...typed, method: event.currentTarget.value })}
      />
      {input("requestId", "Request id", 130)}
      {isFiltered && (
        <Button
          variant="subtle"
          color="gray"
          size="compact-xs"
          onClick={() => setTyped(ANY_DENIAL)}
        >
          Clear
        </Button>
      )}
      <span className="grow" />
      <Switch
        size="xs"
        label="Refresh"
        checked={isLive}
        onChange={(event) => onLive(event.currentTarget.checked)}
      />
    </search>
  );
}

function None({ wanted }: { wanted: DenialFilter }): ReactNode {
  const isFiltered = Object.values(wanted).some((value) => value !== "");
  return (
    <Empty icon={<IconShieldOff />} title={isFiltered ? "No such denial is kept" : "No denials"}>
      {isFiltered
        ? "The rules did not deny it, it was past the number that is explained in a second, or it is too old."
        : "What the rules deny to your app appears here with the reason, while this server runs."}
    </Empty>
  );
}

function Counts({ counts, error }: { counts: DenialPage["counts"]; error: unknown }): ReactNode {
  const told = (count: number) => count.toLocaleString("en");
  return (
    <footer className="pane-foot">
      {error !== undefined ? (
        <span className="error-text">These are not refreshed: the server did not answer.</span>
      ) : (
        <span>
          Since the server's start: {told(counts.denied)} denied, {told(counts.unexplained)} of them
          not explained, {told(counts.dropped)} dropped.
        </span>
      )}
    </footer>
  );
}

function callerOf(denial: Denial): string {
  return denial.uid ?? denial.caller;
}

function reasonOf(denial: Denial): string {
  return denial.explained.reasons[0]?.message ?? denial.text.split("\n", 1)[0] ?? "";
}

const COLUMNS: readonly Column<Denial>[] = [
  {
    name: "Path",
    cell: ({ path }) => (
      <button type="button" className="bare truncate" title={path}>
        <code>{path === "" ? "/" : path}</code>
      </button>
    ),
  },
  { name: "Method", cell: ({ method }) => method },
  { name: "Caller", cell: (denial) => <code>{callerOf(denial)}</code>, title: callerOf },
  { name: "Reason", isWide: true, className: "muted", cell: reasonOf, title: reasonOf },
  { name: "Time", isWide: true, className: "muted", cell: ({ time }) => <Moment time={time} /> },
];
