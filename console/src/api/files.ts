/** Buckets and objects, one function per call. */

import type { JsonObject } from "../model/json";
import { ApiError, call, errorOf, parsed } from "./client";
import { currentToken, expireSession } from "./session";

export interface StoredFile {
  bucket: string;
  name: string;
  size: number;
  contentType: string | null;
  sniffedType: string | null;
  etag: string;
  sha256: string;
  metadata: Readonly<Record<string, string>>;
  created: string;
  updated: string;
  generation: string;
}

export interface FilePage {
  files: readonly StoredFile[];
  /** The folders of the page, as prefixes that end with a slash. */
  prefixes: readonly string[];
  nextPageToken: string | null;
}

const PAGE = 100;
const enc = encodeURIComponent;

function bucketPath(project: string, bucket: string): string {
  return `/projects/${enc(project)}/buckets/${enc(bucket)}`;
}

/** An object's name is one segment of the path, whatever it holds. */
export function objectPath(project: string, bucket: string, name: string): string {
  return `${bucketPath(project, bucket)}/objects/${enc(name)}`;
}

export function uploadPath(project: string, bucket: string, upload: string): string {
  return `${bucketPath(project, bucket)}/uploads/${enc(upload)}`;
}

function decodeFile(tree: JsonObject): StoredFile {
  const text = (value: unknown) => (typeof value === "string" ? value : null);
  return {
    bucket: String(tree.bucket),
    name: String(tree.name),
    size: Number(tree.size),
    contentType: text(tree.content_type),
    sniffedType: text(tree.sniffed_type),
    etag: String(tree.etag),
    sha256: text(tree.sha256) ?? "",
    metadata: { ...(tree.metadata as Record<string, string> | undefined) },
    created: text(tree.create_time) ?? "",
    updated: text(tree.update_time) ?? "",
    generation: String(tree.generation),
  };
}

// Buckets

export async function listBuckets(project: string): Promise<string[]> {
  const { buckets } = await call("GET", `/admin/projects/${enc(project)}/buckets`);
  return Array.isArray(buckets) ? buckets.map((item) => String((item as JsonObject).id)) : [];
}

export async function createBucket(project: string, id: string): Promise<void> {
  await call("POST", `/admin/projects/${enc(project)}/buckets`, { body: { id } });
}

export async function deleteBucket(project: string, id: string): Promise<void> {
  await call("DELETE", `/admin/projects/${enc(project)}/buckets/${enc(id)}?recursive=true`);
}

// Objects

export async function listFiles(
  project: string,
  bucket: string,
  prefix: string,
  options: { delimiter?: string; pageToken?: string | null } = {},
): Promise<FilePage> {
  const query = new URLSearchParams({ page_size: String(PAGE) });
  if (prefix !== "") query.set("prefix", prefix);
  if (options.delimiter !== undefined) query.set("delimiter", options.delimiter);
  if (typeof options.pageToken === "string") query.set("page_token", options.pageToken);
  const tree = await call("GET", `${bucketPath(project, bucket)}/objects?${query}`);
  return {
    files: (tree.objects as JsonObject[]).map(decodeFile),
    prefixes: Array.isArray(tree.prefixes) ? tree.prefixes.map(String) : [],
    nextPageToken: typeof tree.next_page_token === "string" ? tree.next_page_token : null,
  };
}

export async function getFile(project: string, bucket: string, name: string): Promise<StoredFile> {
  return decodeFile(await call("GET", `${objectPath(project, bucket, name)}:metadata`));
}

/** Changes what is said of a file, if it is still the one that was seen. */
export async function patchFile(
  project: string,
  file: StoredFile,
  change: { content_type?: string; metadata?: Record<string, string> },
): Promise<StoredFile> {
  const path = `${objectPath(project, file.bucket, file.name)}:metadata`;
  const headers = { "if-match": file.etag };
  return decodeFile(await call("PATCH", path, { body: { ...change }, headers }));
}

export async function deleteFile(project: string, bucket: string, name: string): Promise<void> {
  await call("DELETE", objectPath(project, bucket, name));
}

/** Deletes all that lies below a prefix; `onDelete` counts. */
export async function deleteFolder(
  project: string,
  bucket: string,
  prefix: string,
  onDelete: () => void,
): Promise<void> {
  for (;;) {
    const page = await listFiles(project, bucket, prefix);
    if (page.files.length === 0) return;
    for (const file of page.files) {
      try {
        await deleteFile(project, bucket, file.name);
      } catch (error) {
        if (!(error instanceof ApiError && error.status === 404)) throw error;
      }
      onDelete();
    }
  }
}

/** A copy under another name, never over a file that is there. */
export async function copyFile(
  project: string,
  bucket: string,
  name: string,
  to: string,
): Promise<StoredFile> {
  const path = `${objectPath(project, bucket, name)}:copy`;
  return decodeFile(await call("POST", path, { body: { to }, headers: { "if-none-match": "*" } }));
}

/** An address of this server by which anybody may read the file until it expires. */
export async function signFile(
  project: string,
  bucket: string,
  name: string,
  seconds: number,
): Promise<string> {
  const body = { method: "GET", expires_in: seconds };
  const tree = await call("POST", `${objectPath(project, bucket, name)}:sign`, { body });
  return String(tree.url);
}

/** The bytes of a file, or of what the server makes of it. */
async function fetchBytes(
  path: string,
  headers: Record<string, string>,
  signal: AbortSignal,
): Promise<Response> {
  const token = currentToken();
  let response: Response;
  try {
    response = await fetch(`/api/v1${path}`, {
      headers: token === null ? headers : { ...headers, authorization: `Bearer ${token}` },
      credentials: "omit",
      signal,
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "UNAVAILABLE", "Unreachable", "the server cannot be reached");
  }
  if (response.ok) return response;
  if (response.status === 401 && token !== null) expireSession(token);
  const tree = parsed(await response.text());
  throw errorOf(response.status, tree, response.headers.get("x-request-id"));
}

export async function fetchThumbnail(
  project: string,
  file: StoredFile,
  size: number,
  signal: AbortSignal,
): Promise<Blob> {
  const path = `${objectPath(project, file.bucket, file.name)}?thumbnail=${size}`;
  return (await fetchBytes(path, {}, signal)).blob();
}

/** The beginning of a file as text. */
export async function fetchText(
  project: string,
  file: StoredFile,
  bytes: number,
  signal: AbortSignal,
): Promise<string> {
  if (file.size === 0) return "";
  const path = objectPath(project, file.bucket, file.name);
  const response = await fetchBytes(path, { range: `bytes=0-${bytes - 1}` }, signal);
  return new TextDecoder().decode(await response.arrayBuffer());
}
