/** What is asked before a backup is restored, and when backups are to be made by themselves. */

import { Checkbox, NativeSelect, NumberInput, TextInput } from "@mantine/core";
import { type ReactNode, useState } from "react";
import { type Backup, restoreBackup, type Schedule, setSchedule } from "../api/backups";
import { FormDialog } from "./FormDialog";

export function RestoreBackup({
  backup,
  onDone,
  onClose,
}: {
  backup: Backup;
  onDone: () => void;
  onClose: () => void;
}): ReactNode {
  const [project, setProject] = useState(backup.projects[0] ?? "");
  const [target, setTarget] = useState(`${project}-copy`);
  const [newKeys, setNewKeys] = useState(false);
  return (
    <FormDialog
      title="Restore a project"
      action="Restore"
      disabled={target.trim() === ""}
      onClose={onClose}
      onSubmit={async () => {
        await restoreBackup(backup.id, project, target.trim(), newKeys);
        onDone();
      }}
    >
      <p>
        Nothing that exists is changed. The project appears when everything of it is there and has
        been compared with the checksums.
      </p>
      <NativeSelect
        label="Project of the backup"
        value={project}
        onChange={(event) => {
          setProject(event.currentTarget.value);
          setTarget(`${event.currentTarget.value}-copy`);
        }}
        data={backup.projects}
      />
      <TextInput
        label="Its id from now on"
        value={target}
        onChange={(event) => setTarget(event.currentTarget.value)}
        spellCheck={false}
        data-autofocus
      />
      <Checkbox
        label="With new signing keys: for a backup of a server with another secret key; everybody has to sign in again"
        checked={newKeys}
        onChange={(event) => setNewKeys(event.currentTarget.checked)}
      />
    </FormDialog>
  );
}

const HOUR = 3_600;
const EVERY = [
  { value: String(HOUR), label: "every hour" },
  { value: String(6 * HOUR), label: "every six hours" },
  { value: String(24 * HOUR), label: "every day" },
  { value: String(7 * 24 * HOUR), label: "every week" },
];

/** `every day`, or the seconds where somebody has said another time. */
export function everyText(seconds: number): string {
  const known = EVERY.find(({ value }) => Number(value) === seconds);
  return known?.label ?? `every ${seconds.toLocaleString("en")} seconds`;
}

export function ScheduleBackups({
  project,
  known,
  onDone,
  onClose,
}: {
  project: string;
  known: readonly Schedule[];
  onDone: () => void;
  onClose: () => void;
}): ReactNode {
  const [scope, setScope] = useState("project");
  const old = known.find((one) => one.project === project);
  const [every, setEvery] = useState(String(old?.everySeconds ?? 24 * HOUR));
  const [keep, setKeep] = useState({
    keepLast: old?.keepLast ?? 7,
    keepDaily: old?.keepDaily ?? 7,
    keepWeekly: old?.keepWeekly ?? 4,
  });
  const times = EVERY.some(({ value }) => value === every)
    ? EVERY
    : [...EVERY, { value: every, label: everyText(Number(every)) }];
  return (
    <FormDialog
      title="Make backups by themselves"
      action="Save"
      onClose={onClose}
      onSubmit={async () => {
        const of = scope === "project" ? project : null;
        await setSchedule({ project: of, everySeconds: Number(every), ...keep });
        onDone();
      }}
    >
      <NativeSelect
        label="Of"
        value={scope}
        onChange={(event) => setScope(event.currentTarget.value)}
        data={[
          { value: "project", label: `the project ${project}` },
          { value: "server", label: "the whole server" },
        ]}
      />
      <NativeSelect
        label="When"
        value={every}
        onChange={(event) => setEvery(event.currentTarget.value)}
        data={times}
      />
      {(
        [
          ["keepLast", "Keep so many of the newest", 1],
          ["keepDaily", "and the newest of each of so many days", 0],
          ["keepWeekly", "and of each of so many weeks", 0],
        ] as const
      ).map(([name, label, least]) => (
        <NumberInput
          key={name}
          label={label}
          min={least}
          max={1_000}
          allowDecimal={false}
          value={keep[name]}
          onChange={(value) => setKeep({ ...keep, [name]: Number(value) || least })}
        />
      ))}
    </FormDialog>
  );
}
