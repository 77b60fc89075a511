/** Backups of the server: what there is, the tasks on them, and when they are made by themselves. */

import type { JsonObject } from "../model/json";
import { list, text } from "./admin";
import { call } from "./client";
import type { Page } from "./pages";

export interface Backup {
  id: string;
  /** Why it cannot be read. */
  problem: string | null;
  finished: string | null;
  /** null: the whole server. */
  project: string | null;
  projects: string[];
  scheduled: boolean;
  documents: number;
  objects: number;
  bytes: number;
}

export interface BackupTask {
  id: string;
  kind: string;
  backup: string;
  project: string | null;
  target: string | null;
  scheduled: boolean;
  state: "running" | "done" | "cancelled" | "failed";
  error: string | null;
  notes: string[];
  author: string | null;
  created: string;
  updated: string;
  documents: number;
  totalDocuments: number | null;
  bytes: number;
}

export interface Schedule {
  project: string | null;
  everySeconds: number;
  keepLast: number;
  keepDaily: number;
  keepWeekly: number;
  /** When the last good one was made. */
  succeeded: string | null;
  /** The last one failed, or there was none for too long. */
  problem: string | null;
}

const enc = encodeURIComponent;
const STATES = ["running", "done", "cancelled", "failed"] as const;

function decodeBackup(tree: JsonObject): Backup {
  return {
    id: String(tree.id),
    problem: text(tree.problem),
    finished: text(tree.finished),
    project: text(tree.project),
    projects: Array.isArray(tree.projects) ? tree.projects.map(String) : [],
    scheduled: tree.scheduled === true,
    documents: Number(tree.documents ?? 0),
    objects: Number(tree.objects ?? 0),
    bytes: Number(tree.document_bytes ?? 0) + Number(tree.object_bytes ?? 0),
  };
}

function decodeTask(tree: JsonObject): BackupTask {
  const progress = (tree.progress ?? {}) as JsonObject;
  return {
    id: String(tree.id),
    kind: String(tree.kind),
    backup: String(tree.backup),
    project: text(tree.project),
    target: text(tree.as),
    scheduled: tree.scheduled === true,
    state: STATES.find((known) => known === tree.state) ?? "running",
    error: text(tree.error),
    notes: Array.isArray(tree.notes) ? tree.notes.map(String) : [],
    author: text(tree.author),
    created: text(tree.created) ?? "",
    updated: text(tree.updated) ?? "",
    documents: Number(progress.documents ?? 0),
    totalDocuments: progress.total_documents == null ? null : Number(progress.total_documents),
    bytes: Number(progress.bytes ?? 0),
  };
}

function decodeSchedule(tree: JsonObject): Schedule {
  return {
    project: text(tree.project),
    everySeconds: Number(tree.every_seconds),
    keepLast: Number(tree.keep_last),
    keepDaily: Number(tree.keep_daily),
    keepWeekly: Number(tree.keep_weekly),
    succeeded: text(tree.succeeded),
    problem: text(tree.problem),
  };
}

/** Newest first. */
export async function listBackups(pageToken: string | null, size: number): Promise<Page<Backup>> {
  const token = pageToken === null ? "" : `&page_token=${enc(pageToken)}`;
  const tree = await call("GET", `/admin/backups?page_size=${size}${token}`);
  return {
    items: list(tree.backups).map(decodeBackup),
    nextPageToken: text(tree.next_page_token),
  };
}

/** Of one project, or with null of the whole server. */
export async function startBackup(project: string | null): Promise<void> {
  await call("POST", "/admin/backups", { body: { project } });
}

export async function verifyBackup(id: string): Promise<void> {
  await call("POST", `/admin/backups/${enc(id)}:verify`);
}

export async function deleteBackup(id: string): Promise<void> {
  await call("DELETE", `/admin/backups/${enc(id)}`);
}

/** Makes a project of the backup again, under another id. */
export async function restoreBackup(
  id: string,
  project: string,
  target: string,
  newKeys: boolean,
): Promise<void> {
  const body = { project, as: target, new_keys: newKeys };
  await call("POST", `/admin/backups/${enc(id)}:restore`, { body });
}

export async function listBackupTasks(): Promise<BackupTask[]> {
  return list((await call("GET", "/admin/backup-tasks")).tasks).map(decodeTask);
}

export async function cancelBackupTask(id: string): Promise<void> {
  await call("POST", `/admin/backup-tasks/${enc(id)}:cancel`);
}

export async function listSchedules(): Promise<Schedule[]> {
  return list((await call("GET", "/admin/backup-schedules")).schedules).map(decodeSchedule);
}

export async function setSchedule(
  schedule: Pick<Schedule, "project" | "everySeconds" | "keepLast" | "keepDaily" | "keepWeekly">,
): Promise<void> {
  const body = {
    project: schedule.project,
    every_seconds: schedule.everySeconds,
    keep_last: schedule.keepLast,
    keep_daily: schedule.keepDaily,
    keep_weekly: schedule.keepWeekly,
  };
  await call("PUT", "/admin/backup-schedules", { body });
}

export async function deleteSchedule(project: string | null): Promise<void> {
  const query = project === null ? "" : `?project=${enc(project)}`;
  await call("DELETE", `/admin/backup-schedules${query}`);
}
