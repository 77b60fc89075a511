/** What rules denied to callers of the app. */

import type { DenialFilter } from "../model/routes";
import { list, projectPath, text } from "./admin";
import { call } from "./client";
import type { Page } from "./pages";
import { decodeExplained, type Explained, objectOf } from "./trials";

export interface Denial {
  requestId: string;
  time: string;
  service: string;
  place: string;
  method: string;
  path: string;
  caller: string;
  uid: string | null;
  release: string | null;
  explained: Explained;
  /** The same for people; where no single condition is to blame, it is all there is. */
  text: string;
}

export interface DenialPage extends Page<Denial> {
  counts: { denied: number; unexplained: number; dropped: number };
}

export async function listDenials(
  project: string,
  wanted: DenialFilter,
  size: number,
  pageToken: string | null,
): Promise<DenialPage> {
  const parameters = new URLSearchParams({ page_size: String(size) });
  for (const [name, value] of [
    ["request_id", wanted.requestId],
    ["path", wanted.path],
    ["uid", wanted.uid],
    ["method", wanted.method],
    ["page_token", pageToken ?? ""],
  ] as const)
    if (value !== "") parameters.set(name, value);
  const tree = await call("GET", `${projectPath(project)}/denials?${parameters}`);
  const counts = objectOf(tree.counts) ?? {};
  return {
    items: list(tree.denials).map((item) => ({
      requestId: String(item.request_id),
      time: String(item.time),
      service: String(item.service),
      place: String(item.place),
      method: String(item.method),
      path: String(item.path),
      caller: String(item.caller),
      uid: text(item.uid),
      release: text(item.release),
      explained: decodeExplained(item),
      text: String(item.explanation),
    })),
    counts: {
      denied: Number(counts.denied),
      unexplained: Number(counts.unexplained),
      dropped: Number(counts.dropped),
    },
    nextPageToken: text(tree.next_page_token),
  };
}
