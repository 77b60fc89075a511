/** Backups: make one now, have them made, verify, restore under another id, delete. */

import "../data.css";
import { Button, Menu } from "@mantine/core";
import { IconDatabaseExport, IconDotsVertical, IconX } from "@tabler/icons-react";
import { type ReactNode, useState } from "react";
import {
  type Backup,
  cancelBackupTask,
  deleteBackup,
  deleteSchedule,
  listBackups,
  listBackupTasks,
  listSchedules,
  type Schedule,
  startBackup,
  verifyBackup,
} from "../api/backups";
import { useLoaded, useRefresh } from "../api/hooks";
import { everyText, RestoreBackup, ScheduleBackups } from "../components/BackupDialogs";
import { Tasks } from "../components/BackupTasks";
import { Confirm } from "../components/Confirm";
import { IconAction } from "../components/controls";
import { Empty, Failed, Loading, toastError } from "../components/feedback";
import { formatSize } from "../model/files";
import { shortTime } from "../model/inputs";

const PAGE = 100;
const RUNNING_MS = 1_000;
const IDLE_MS = 10_000;

export function BackupsPage({ project }: { project: string }): ReactNode {
  const [restoring, setRestoring] = useState<Backup | null>(null);
  const [deleting, setDeleting] = useState<Backup | null>(null);
  const [isScheduling, setScheduling] = useState(false);
  const loaded = useLoaded("backups", async () => {
    const [page, tasks, schedules] = await Promise.all([
      listBackups(null, PAGE),
      listBackupTasks(),
      listSchedules(),
    ]);
    return { page, tasks, schedules };
  });
  const { data, reload } = loaded;
  const isRunning = data?.tasks.some((task) => task.state === "running") ?? false;
  const isWhole = data === undefined || data.page.items.length <= PAGE;
  // What was loaded beyond the first page would be gone.
  useRefresh(reload, !isWhole ? null : isRunning ? RUNNING_MS : IDLE_MS);

  async function act(title: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
      reload();
    } catch (error) {
      toastError(title, error);
    }
  }

  async function more(): Promise<void> {
    if (data === undefined) return;
    await act("More backups could not be loaded", async () => {
      const next = await listBackups(data.page.nextPageToken, PAGE);
      loaded.setData({
        ...data,
        page: { ...next, items: [...data.page.items, ...next.items] },
      });
    });
  }

  const start = (of: string | null) => void act("No backup was begun", () => startBackup(of));
  return (
    <>
      <header className="bar">
        <h1>Backups</h1>
        <span className="grow" />
        <Button variant="default" onClick={() => setScheduling(true)}>
          Schedule…
        </Button>
        <Menu position="bottom-end">
          <Menu.Target>
            <Button disabled={isRunning}>Back up now</Button>
          </Menu.Target>
          <Menu.Dropdown>
            <Menu.Item onClick={() => start(project)}>This project</Menu.Item>
            <Menu.Item onClick={() => start(null)}>The whole server</Menu.Item>
          </Menu.Dropdown>
        </Menu>
      </header>
      <div className="page">
        {data === undefined && loaded.loading && <Loading label="Loading backups" />}
        {data === undefined && !loaded.loading && (
          <Failed title="Backups could not be loaded" error={loaded.error} onRetry={reload} />
        )}
        {data !== undefined && (
          <div className="sheet">
            <Schedules
              schedules={data.schedules}
              onDelete={(one) => void act("Not removed", () => deleteSchedule(one.project))}
            />
            <Tasks
              tasks={data.tasks}
              onCancel={(task) => void act("Not ended", () => cancelBackupTask(task.id))}
            />
            {data.page.items.length === 0 ? (
              <Empty
                icon={<IconDatabaseExport />}
                title="No backups yet"
                action={<Button onClick={() => start(project)}>Back up this project</Button>}
              >
                Each holds every database at one version, users, rules and objects. The server's
                secret key is not in it: keep it elsewhere.
              </Empty>
            ) : (
              <BackupTable
                backups={data.page.items}
                isBusy={isRunning}
                onVerify={(one) => void act("No check was begun", () => verifyBackup(one.id))}
                onRestore={setRestoring}
                onDelete={setDeleting}
              />
            )}
            {data.page.nextPageToken !== null && (
              <Button variant="default" onClick={more}>
                Load more
              </Button>
            )}
          </div>
        )}
      </div>
      {restoring !== null && (
        <RestoreBackup backup={restoring} onDone={reload} onClose={() => setRestoring(null)} />
      )}
      {isScheduling && (
        <ScheduleBackups
          project={project}
          known={data?.schedules ?? []}
          onDone={reload}
          onClose={() => setScheduling(false)}
        />
      )}
      {deleting !== null && (
        <Confirm
          title="Delete this backup?"
          action="Delete backup"
          danger
          typed={deleting.id}
          onClose={() => setDeleting(null)}
          onConfirm={async () => {
            await deleteBackup(deleting.id);
            reload();
          }}
        >
          <p>What only this backup holds cannot be restored any more.</p>
        </Confirm>
      )}
    </>
  );
}

function Schedules({
  schedules,
  onDelete,
}: {
  schedules: readonly Schedule[];
  onDelete: (schedule: Schedule) => void;
}): ReactNode {
  if (schedules.length === 0) return null;
  return (
    <section className="section" aria-label="Schedules">
      <header>
        <h2>By themselves</h2>
      </header>
      <div className="card">
        {schedules.map((one) => (
          <div className="card-row" key={one.project ?? ""}>
            <span className="grow breaks">
              <strong>{one.project ?? "The whole server"}</strong> {everyText(one.everySeconds)};
              kept: the last {one.keepLast}, {one.keepDaily} daily, {one.keepWeekly} weekly
              <span className="muted">
                {" · "}
                {one.succeeded === null ? "none yet" : `last good one ${shortTime(one.succeeded)}`}
              </span>
              {one.problem !== null && <p className="error-text">{one.problem}</p>}
            </span>
            <IconAction
              label={`Remove the schedule of ${one.project ?? "the whole server"}`}
              onClick={() => onDelete(one)}
            >
              <IconX size={16} />
            </IconAction>
          </div>
        ))}
      </div>
    </section>
  );
}

function BackupTable({
  backups,
  isBusy,
  onVerify,
  onRestore,
  onDelete,
}: {
  backups: readonly Backup[];
  isBusy: boolean;
  onVerify: (backup: Backup) => void;
  onRestore: (backup: Backup) => void;
  onDelete: (backup: Backup) => void;
}): ReactNode {
  return (
    <section className="section" aria-label="Backups">
      <header>
        <h2>Backups</h2>
      </header>
      <div className="card">
        {backups.map((one) => (
          <div className="card-row" key={one.id}>
            <span className="grow breaks">
              <strong>{one.finished === null ? one.id : shortTime(one.finished)}</strong>{" "}
              {one.project ?? "the whole server"}
              <span className="muted small" style={{ display: "block" }}>
                <code>{one.id}</code>
                {one.problem === null &&
                  ` · ${one.documents.toLocaleString("en")} documents, ${one.objects.toLocaleString("en")} objects, ${formatSize(one.bytes)}`}
                {one.scheduled && " · by schedule"}
              </span>
              {one.problem !== null && <p className="error-text">{one.problem}</p>}
            </span>
            <Menu position="bottom-end">
              <Menu.Target>
                <IconAction label={`Actions of backup ${one.id}`}>
                  <IconDotsVertical size={16} />
                </IconAction>
              </Menu.Target>
              <Menu.Dropdown>
                <Menu.Item disabled={isBusy} onClick={() => onVerify(one)}>
                  Verify: read all of it
                </Menu.Item>
                <Menu.Item
                  disabled={isBusy || one.projects.length === 0}
                  onClick={() => onRestore(one)}
                >
                  Restore a project…
                </Menu.Item>
                <Menu.Divider />
                <Menu.Item color="var(--danger)" disabled={isBusy} onClick={() => onDelete(one)}>
                  Delete…
                </Menu.Item>
              </Menu.Dropdown>
            </Menu>
          </div>
        ))}
      </div>
    </section>
  );
}
