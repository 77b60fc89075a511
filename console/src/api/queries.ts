/** Queries that are asked once, page by page: documents, numbers or groups, with their explanation. */

import { type Asked, bodyOf, showsOf } from "../model/asked";
import type { JsonObject } from "../model/json";
import { decodeFields, type Fields } from "../model/values";
import { list, text } from "./admin";
import { call } from "./client";
import { documentsBase } from "./documents";
import { type Definition, decodeDefinition } from "./indexes";
import { type Document, decodeDocument } from "./listen";

export interface Scan {
  kind: string;
  index: (Definition & { id: string }) | null;
  ranges: number;
  direction: string;
  exact: boolean;
}

export interface Explained {
  scans: Scan[];
  missing: (Definition & { building: boolean })[];
  /** Why it cost more than what it returned. */
  hints: string[];
  entriesScanned: number;
  /** Looked at without their documents. */
  keysCounted: number;
  documentsRead: number;
  returned: number;
  seconds: number;
}

/** Documents of equal values, or all of them; `results` by alias: `field_1` for the first number. */
export interface Group {
  values: Fields;
  results: Fields;
}

export type Answer = {
  nextPageToken: string | null;
  explained: Explained | null;
} & ({ kind: "documents"; documents: Document[] } | { kind: "groups"; groups: Group[] });

/** One page of the answer, and how it was answered. */
export async function ask(
  project: string,
  database: string,
  asked: Asked,
  pageSize: number,
  pageToken: string | null,
  signal: AbortSignal,
): Promise<Answer> {
  const shows = showsOf(asked);
  const body: JsonObject = { ...bodyOf(asked), explain: true };
  if (shows !== "numbers") body.page_size = pageSize;
  if (pageToken !== null) body.page_token = pageToken;
  const verb = shows === "documents" ? "query" : "aggregate";
  const path = `${documentsBase(project, database)}:${verb}`;
  const tree = await call("POST", path, { body, signal });
  const common = {
    nextPageToken: text(tree.next_page_token),
    explained: tree.explain === undefined ? null : decodeExplained(tree.explain as JsonObject),
  };
  if (shows === "documents")
    return { ...common, kind: "documents", documents: list(tree.documents).map(decodeDocument) };
  const groups = shows === "groups" ? list(tree.groups) : [{ group: {}, results: tree.results }];
  return {
    ...common,
    kind: "groups",
    groups: groups.map(({ group, results }) => ({
      values: decodeFields(group as JsonObject),
      results: decodeFields((results ?? {}) as JsonObject),
    })),
  };
}

function decodeExplained(tree: JsonObject): Explained {
  return {
    scans: list(tree.scans).map((scan) => ({
      kind: String(scan.kind),
      index:
        scan.index == null
          ? null
          : {
              ...decodeDefinition(scan.index as JsonObject),
              id: String((scan.index as JsonObject).id),
            },
      ranges: Number(scan.ranges),
      direction: String(scan.direction),
      exact: scan.exact === true,
    })),
    missing: list(tree.missing_indexes).map((item) => ({
      ...decodeDefinition(item),
      building: item.building === true,
    })),
    hints: Array.isArray(tree.hints) ? tree.hints.map(String) : [],
    entriesScanned: Number(tree.entries_scanned),
    keysCounted: Number(tree.keys_counted),
    documentsRead: Number(tree.documents_read),
    returned: Number(tree.returned),
    seconds: Number(tree.seconds),
  };
}
