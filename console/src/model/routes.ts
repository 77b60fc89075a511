/** Hash addresses: every view of the console has one that can be shared, without any secret in it. */

import { type Asked, readAsked, writeAsked } from "./asked";
import { isDocument, type Segments, splitPath, urlPath } from "./paths";
import { decodeView, EMPTY_VIEW, encodeView, type View } from "./queries";

export const DEFAULT_DATABASE = "(default)";

export type Route =
  | { page: "projects" }
  | { page: "setup" }
  | { page: "data"; project: string; database: string; path: Segments; view: View }
  | {
      page: "files";
      project: string;
      bucket: string | null;
      folder: Segments;
      object: string | null;
    }
  | RulesRoute
  | { page: "query"; project: string; database: string; asked: Asked | null }
  | { page: "indexes"; project: string; database: string }
  | { page: "expiry"; project: string; database: string }
  | { page: "jobs" | "schemas" | "backups"; project: string }
  | { page: "history"; project: string; database: string; path: Segments; version: string | null }
  | { page: "users"; project: string }
  | { page: "settings"; project: string }
  | { page: "unknown"; hash: string };

export const RULES_SECTIONS = ["editor", "history", "denials", "audit"] as const;
export type RulesSection = (typeof RULES_SECTIONS)[number];

export interface RulesRoute {
  page: "rules";
  project: string;
  section: RulesSection;
  /** The release shown, of the history. */
  release: string | null;
  /** What denials are looked for. */
  denials: DenialFilter;
  /** A document that the playground is to be asked about. */
  tried: { database: string; path: string } | null;
}

/** Empty: any. `path` takes what is below it too. */
export interface DenialFilter {
  requestId: string;
  path: string;
  uid: string;
  method: string;
}

export const ANY_DENIAL: DenialFilter = { requestId: "", path: "", uid: "", method: "" };
const DENIAL_PARAMETERS = [
  ["requestId", "request"],
  ["path", "path"],
  ["uid", "uid"],
  ["method", "method"],
] as const;

export type ProjectPage =
  | "data"
  | "query"
  | "indexes"
  | "expiry"
  | "jobs"
  | "schemas"
  | "backups"
  | "files"
  | "rules"
  | "users"
  | "settings";

/** Reads `location.hash`. Never throws: what is not understood is an unknown page. */
export function parseHash(hash: string): Route {
  const unknown: Route = { page: "unknown", hash };
  const bare = hash.replace(/^#?\/?/, "");
  const mark = bare.indexOf("?");
  const path = mark < 0 ? bare : bare.slice(0, mark);
  const parameters = new URLSearchParams(mark < 0 ? "" : bare.slice(mark + 1));
  let segments: Segments;
  try {
    segments = splitPath(path).map(decodeURIComponent);
  } catch {
    return unknown;
  }
  const [first, project, page, ...rest] = segments;
  if (first === undefined) return { page: "projects" };
  if (first === "setup" && project === undefined) return { page: "setup" };
  if (first !== "projects") return unknown;
  if (project === undefined) return { page: "projects" };
  if (page === "rules") return rulesRoute(project, rest, parameters) ?? unknown;
  const database = parameters.get("database") ?? DEFAULT_DATABASE;
  if (page === "query" || page === "indexes" || page === "expiry") {
    if (rest.length > 0) return unknown;
    if (page === "indexes") return { page, project, database };
    if (page === "expiry") return { page, project, database };
    return { page, project, database, asked: readAsked(parameters.get("q") ?? "") };
  }
  if (page === "history") {
    if (!isDocument(rest)) return unknown;
    return { page, project, database, path: rest, version: parameters.get("version") };
  }
  if (page === "users" || page === "settings")
    return rest.length === 0 ? { page, project } : unknown;
  if (page === "jobs" || page === "schemas" || page === "backups")
    return rest.length === 0 ? { page, project } : unknown;
  if (page === "files") {
    const [bucket = null, ...folder] = rest;
    return { page, project, bucket, folder, object: parameters.get("object") };
  }
  if (page !== undefined && page !== "data") return unknown;
  const view = decodeView(parameters);
  return { page: "data", project, database, path: rest, view };
}

function rulesRoute(
  project: string,
  segments: Segments,
  parameters: URLSearchParams,
): RulesRoute | null {
  const [section = "editor", named, ...rest] = segments;
  const release = named ?? null;
  const found = RULES_SECTIONS.find((one) => one === section);
  if (found === undefined || rest.length > 0) return null;
  if (release !== null && found !== "history") return null;
  const denials = { ...ANY_DENIAL };
  for (const [name, parameter] of DENIAL_PARAMETERS)
    denials[name] = parameters.get(parameter) ?? "";
  const path = parameters.get("try");
  const database = parameters.get("database") ?? DEFAULT_DATABASE;
  const tried = path === null || found !== "editor" ? null : { database, path };
  return { page: "rules", project, section: found, release, denials, tried };
}

/** The hash of a part of the rules page. */
export function rulesHash(
  project: string,
  section: RulesSection = "editor",
  {
    release = null,
    denials = ANY_DENIAL,
    tried = null,
  }: Partial<Pick<RulesRoute, "release" | "denials" | "tried">> = {},
): string {
  const segments = section === "editor" ? [] : [section, ...(release === null ? [] : [release])];
  const parameters = new URLSearchParams();
  for (const [name, parameter] of DENIAL_PARAMETERS)
    if (denials[name] !== "") parameters.set(parameter, denials[name]);
  if (tried !== null) {
    parameters.set("try", tried.path);
    if (tried.database !== DEFAULT_DATABASE) parameters.set("database", tried.database);
  }
  const query = parameters.toString();
  return `${pageHash(project, "rules")}${segments.map((one) => `/${encodeURIComponent(one)}`).join("")}${query === "" ? "" : `?${query}`}`;
}

/** The hash of a data view. The database and an empty view leave no trace. */
export function dataHash(
  project: string,
  database: string,
  path: Segments,
  view: View = EMPTY_VIEW,
): string {
  const parameters = new URLSearchParams();
  if (database !== DEFAULT_DATABASE) parameters.set("database", database);
  encodeView(view, parameters);
  const query = parameters.toString();
  const tail = path.length === 0 ? "" : `/${urlPath(path)}`;
  return `#/projects/${encodeURIComponent(project)}/data${tail}${query === "" ? "" : `?${query}`}`;
}

/** The hash of the query builder, with what is asked. */
export function queryHash(project: string, database: string, asked: Asked | null = null): string {
  const parameters = new URLSearchParams();
  if (database !== DEFAULT_DATABASE) parameters.set("database", database);
  if (asked !== null) parameters.set("q", writeAsked(asked));
  const query = parameters.toString();
  return `${pageHash(project, "query")}${query === "" ? "" : `?${query}`}`;
}

/** The hash of the history of a document, at one of its versions. */
export function historyHash(
  project: string,
  database: string,
  path: Segments,
  version: string | null = null,
): string {
  const parameters = new URLSearchParams();
  if (database !== DEFAULT_DATABASE) parameters.set("database", database);
  if (version !== null) parameters.set("version", version);
  const query = parameters.toString();
  const start = `#/projects/${encodeURIComponent(project)}/history/${urlPath(path)}`;
  return `${start}${query === "" ? "" : `?${query}`}`;
}

/** The hash of a page that shows one database. */
export function databaseHash(project: string, page: ProjectPage, database: string): string {
  const query = database === DEFAULT_DATABASE ? "" : `?database=${encodeURIComponent(database)}`;
  return `${pageHash(project, page)}${query}`;
}

/** The hash of a folder of a bucket, or of an object shown beside it. */
export function filesHash(
  project: string,
  bucket: string | null,
  folder: Segments = [],
  object: string | null = null,
): string {
  const path = bucket === null ? "" : `/${urlPath([bucket, ...folder])}`;
  const query = object === null ? "" : `?object=${encodeURIComponent(object)}`;
  return `#/projects/${encodeURIComponent(project)}/files${path}${query}`;
}

export function pageHash(project: string, page: ProjectPage): string {
  return `#/projects/${encodeURIComponent(project)}/${page}`;
}

/** The token of `#/setup?token=…`. It stays in the fragment, which browsers never send. */
export function setupToken(hash: string): string | null {
  const found = /^#?\/?setup\?(.*)$/s.exec(hash);
  return found === null ? null : new URLSearchParams(found[1]).get("token");
}

/** Where a reference leads: within its own database, or another one of this server. */
export function referenceHash(project: string, database: string, reference: string): string {
  const found = /^projects\/([^/]+)\/databases\/([^/]+)\/documents\/(.*)$/s.exec(reference);
  if (found === null) return dataHash(project, database, splitPath(reference));
  const [, otherProject, otherDatabase, path] = found as unknown as [
    string,
    string,
    string,
    string,
  ];
  return dataHash(otherProject, otherDatabase, splitPath(path));
}
