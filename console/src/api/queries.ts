/** Queries that are asked once: pages with their explanation, and numbers. */

import type { Asked } from "../model/builder";
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
  entriesScanned: number;
  documentsRead: number;
  returned: number;
  seconds: number;
}

export interface Answer {
  documents: Document[];
  nextPageToken: string | null;
  readTime: string;
  explained: Explained | null;
}

/** One page of the answer, and how it was answered. */
export async function runQuery(
  project: string,
  database: string,
  query: JsonObject,
  pageSize: number,
  pageToken: string | null,
  signal: AbortSignal,
): Promise<Answer> {
  const body: JsonObject = { query, page_size: pageSize, explain: true };
  if (pageToken !== null) body.page_token = pageToken;
  const path = `${documentsBase(project, database)}:query`;
  const tree = await call("POST", path, { body, signal });
  return {
    documents: list(tree.documents).map(decodeDocument),
    nextPageToken: text(tree.next_page_token),
    readTime: text(tree.read_time) ?? "",
    explained: tree.explain === undefined ? null : decodeExplained(tree.explain as JsonObject),
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
    entriesScanned: Number(tree.entries_scanned),
    documentsRead: Number(tree.documents_read),
    returned: Number(tree.returned),
    seconds: Number(tree.seconds),
  };
}

/** The numbers by alias: `field_1` for the first one, and so on. */
export async function aggregate(
  project: string,
  database: string,
  { query, aggregates }: Asked,
  signal: AbortSignal,
): Promise<Fields> {
  const path = `${documentsBase(project, database)}:aggregate`;
  const tree = await call("POST", path, { body: { query, aggregates }, signal });
  return decodeFields(tree.results as JsonObject);
}
