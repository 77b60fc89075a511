/**
 * Uploads under way. They belong to the console and not to a page, so they go on while other pages
 * are looked at. A large file goes in parts, each sent again after a lost connection.
 */

import { useSyncExternalStore } from "react";
import { baseName } from "../model/files";
import type { JsonObject } from "../model/json";
import { ApiError, call, errorOf, messageOf, parsed } from "./client";
import { objectPath, uploadPath } from "./files";
import { currentToken, expireSession } from "./session";

const PART_BYTES = 8 * 1024 * 1024;
const RUNNING_MAX = 3;
const FAILURES_MAX = 8;

export type UploadState = "waiting" | "running" | "done" | "exists" | "failed" | "cancelled";

export interface Upload {
  id: number;
  project: string;
  bucket: string;
  name: string;
  size: number;
  sent: number;
  state: UploadState;
  error: string | null;
}

interface Work {
  file: File;
  replace: boolean;
  control: AbortController;
}

let uploads: readonly Upload[] = [];
let finished = 0;
let nextId = 1;
const works = new Map<number, Work>();
const listeners = new Set<() => void>();

function set(next: readonly Upload[]): void {
  uploads = next;
  for (const listener of listeners) listener();
}

function change(id: number, part: Partial<Upload>): void {
  set(uploads.map((item) => (item.id === id ? { ...item, ...part } : item)));
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function useUploads(): readonly Upload[] {
  return useSyncExternalStore(subscribe, () => uploads);
}

/** Grows whenever an upload has made an object, so that lists can look again. */
export function useFinishedUploads(): number {
  return useSyncExternalStore(subscribe, () => finished);
}

export interface Source {
  name: string;
  file: File;
}

export function addUploads(project: string, bucket: string, sources: readonly Source[]): void {
  const made = sources.map(({ name, file }) => {
    const id = nextId++;
    works.set(id, { file, replace: false, control: new AbortController() });
    const size = file.size;
    const state: UploadState = "waiting";
    return { id, project, bucket, name, size, sent: 0, state, error: null };
  });
  set([...uploads, ...made]);
  startWaiting();
}

export function cancelUpload(id: number): void {
  works.get(id)?.control.abort();
  const upload = uploads.find((item) => item.id === id);
  if (upload?.state === "waiting") change(id, { state: "cancelled" });
}

/** Tries again what failed, or was not to replace a file that is there. */
export function retryUpload(id: number, replace: boolean): void {
  const work = works.get(id);
  if (work === undefined) return;
  work.control = new AbortController();
  work.replace ||= replace;
  change(id, { state: "waiting", sent: 0, error: null });
  startWaiting();
}

export function isOver(upload: Upload): boolean {
  return upload.state !== "waiting" && upload.state !== "running";
}

/** Forgets what is over. */
export function clearUploads(): void {
  for (const upload of uploads) if (isOver(upload)) works.delete(upload.id);
  set(uploads.filter((item) => !isOver(item)));
}

window.addEventListener("beforeunload", (event) => {
  if (uploads.some((item) => !isOver(item))) event.preventDefault();
});

function startWaiting(): void {
  const running = uploads.filter((item) => item.state === "running").length;
  const waiting = uploads.filter((item) => item.state === "waiting");
  for (const upload of waiting.slice(0, Math.max(0, RUNNING_MAX - running))) {
    change(upload.id, { state: "running" });
    void run(upload);
  }
}

async function run(upload: Upload): Promise<void> {
  const work = works.get(upload.id);
  if (work === undefined) return;
  try {
    await send(upload, work);
    finished += 1;
    change(upload.id, { state: "done", sent: upload.size });
  } catch (error) {
    if (work.control.signal.aborted) change(upload.id, { state: "cancelled" });
    else if (!work.replace && error instanceof ApiError && error.status === 412)
      change(upload.id, { state: "exists" });
    else change(upload.id, { state: "failed", error: messageOf(error) });
  }
  startWaiting();
}

function send(upload: Upload, work: Work): Promise<void> {
  return work.file.size <= PART_BYTES ? sendAtOnce(upload, work) : sendInParts(upload, work);
}

function condition(work: Work): Record<string, string> {
  return work.replace ? {} : { "if-none-match": "*" };
}

async function sendAtOnce(upload: Upload, { file, control, ...work }: Work): Promise<void> {
  const headers = condition({ file, control, ...work });
  if (file.type !== "") headers["content-type"] = file.type;
  const sum = await sha256(file);
  if (sum !== null) headers["x-baas-sha256"] = sum;
  const path = objectPath(upload.project, upload.bucket, upload.name);
  const told = (sent: number) => change(upload.id, { sent });
  await request("PUT", path, headers, file, control.signal, told);
}

/** Browsers offer checksums to secure pages only, and of what is in memory. */
async function sha256(file: File): Promise<string | null> {
  if (!window.isSecureContext) return null;
  const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function sendInParts(upload: Upload, work: Work): Promise<void> {
  const { file, control } = work;
  const { project, bucket } = upload;
  const signal = control.signal;
  const body: JsonObject = { size: file.size };
  if (file.type !== "") body.content_type = file.type;
  const headers = condition(work);
  const start = `${objectPath(project, bucket, upload.name)}:upload`;
  const begun = await call("POST", start, { body, headers, signal });
  const path = uploadPath(project, bucket, String(begun.upload));
  try {
    let offset = 0;
    let failures = 0;
    while (offset < file.size) {
      const at = offset;
      const told = (sent: number) => change(upload.id, { sent: at + sent });
      const part = file.slice(at, at + PART_BYTES);
      const partHeaders = {
        "upload-offset": String(at),
        "content-type": "application/octet-stream",
      };
      try {
        const answer = await request("PATCH", path, partHeaders, part, signal, told);
        offset = Number(answer.offset);
        failures = 0;
      } catch (error) {
        const known = error instanceof ApiError ? error.details?.offset : undefined;
        if (typeof known === "number") offset = known;
        else {
          failures += 1;
          if (!isPassing(error) || failures >= FAILURES_MAX) throw error;
          await pause(failures, signal);
          offset = await offsetOf(path, at, signal);
        }
      }
      change(upload.id, { sent: offset });
    }
    await call("POST", `${path}:finish`, { body: {}, headers, signal });
  } catch (error) {
    // What was given up, or refused, is not kept for anybody.
    call("DELETE", path).catch(() => undefined);
    throw error;
  }
}

function isPassing(error: unknown): boolean {
  return error instanceof ApiError && (error.status === 0 || error.status === 503);
}

/** How far the server is; if it cannot tell now, as far as was known. */
async function offsetOf(path: string, known: number, signal: AbortSignal): Promise<number> {
  try {
    return Number((await call("GET", path, { signal })).offset);
  } catch (error) {
    if (isPassing(error)) return known;
    throw error;
  }
}

function pause(failures: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, Math.min(10_000, 250 * 2 ** failures));
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("cancelled", "AbortError"));
    });
  });
}

/** A request that tells how much of its body has gone, which fetch cannot. */
function request(
  method: string,
  path: string,
  headers: Readonly<Record<string, string>>,
  body: Blob,
  signal: AbortSignal,
  onSent: (bytes: number) => void,
): Promise<JsonObject> {
  return new Promise((resolve, reject) => {
    const token = currentToken();
    const xhr = new XMLHttpRequest();
    xhr.open(method, `/api/v1${path}`);
    for (const [name, value] of Object.entries(headers)) xhr.setRequestHeader(name, value);
    if (token !== null) xhr.setRequestHeader("authorization", `Bearer ${token}`);
    xhr.upload.onprogress = (event) => onSent(Math.min(event.loaded, body.size));
    xhr.onload = () => {
      const tree = parsed(xhr.responseText);
      if (xhr.status >= 200 && xhr.status < 300) return resolve(tree ?? {});
      if (xhr.status === 401 && token !== null) expireSession(token);
      return reject(errorOf(xhr.status, tree, xhr.getResponseHeader("x-request-id")));
    };
    xhr.onerror = () =>
      reject(new ApiError(0, "UNAVAILABLE", "Unreachable", "the server cannot be reached"));
    xhr.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    if (signal.aborted) {
      reject(new DOMException("cancelled", "AbortError"));
      return;
    }
    signal.addEventListener("abort", () => xhr.abort());
    xhr.send(body);
  });
}

/** What to call an upload in a list. */
export function titleOf(upload: Upload): string {
  return baseName(upload.name);
}
