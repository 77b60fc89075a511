/** The administrative calls, one function each. */

import type { JsonObject } from "../model/json";
import { call, isReason } from "./client";
import type { Page } from "./pages";
import type { Session } from "./session";

export interface Project {
  id: string;
  name: string;
  origins: string[];
  created: string;
  engine: Engine;
  /** The one that has its files, if others of the server have not. */
  node: string | null;
  /** The move that takes it to the other engine. */
  moving: string | null;
}

export type Engine = "sqlite" | "mongodb";

export interface ApiKey {
  id: string;
  kind: "publishable" | "secret";
  name: string;
  prefix: string;
  /** The whole key: always for a publishable one, once for a secret one. */
  text: string | null;
  created: string;
  revoked: string | null;
}

export interface User {
  uid: string;
  email: string;
  emailVerified: boolean;
  disabled: boolean;
  created: string;
  lastSignIn: string | null;
  /** The app's own. */
  claims: JsonObject;
}

/** What is left out stays. */
export interface UserChange {
  disabled?: boolean;
  emailVerified?: boolean;
  /** Ends the user's sessions. */
  password?: string;
  claims?: JsonObject;
}

const enc = encodeURIComponent;

export function projectPath(project: string): string {
  return `/admin/projects/${enc(project)}`;
}

export function text(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

export function list(value: unknown): JsonObject[] {
  return Array.isArray(value) ? (value as JsonObject[]) : [];
}

function decodeSession(tree: JsonObject, email: string): Session {
  const admin = tree.admin as JsonObject | undefined;
  return { token: String(tree.token), email: text(admin?.email) ?? email };
}

export async function setUp(token: string, email: string, password: string): Promise<Session> {
  const body = { token, email, password };
  return decodeSession(await call("POST", "/admin/setup", { body, anonymous: true }), email);
}

export async function signIn(email: string, password: string): Promise<Session> {
  const body = { email, password };
  return decodeSession(await call("POST", "/admin/sign-in", { body, anonymous: true }), email);
}

export async function signOut(): Promise<void> {
  await call("POST", "/admin/sign-out");
}

// Projects

function decodeProject(tree: JsonObject): Project {
  return {
    id: String(tree.id),
    name: text(tree.name) ?? String(tree.id),
    origins: Array.isArray(tree.origins) ? tree.origins.map(String) : [],
    created: text(tree.created) ?? "",
    engine: tree.engine === "mongodb" ? "mongodb" : "sqlite",
    node: text(tree.node),
    moving: text(tree.moving),
  };
}

export async function listProjects(): Promise<Project[]> {
  return list((await call("GET", "/admin/projects")).projects).map(decodeProject);
}

export async function createProject(id: string, name: string): Promise<Project> {
  return decodeProject(await call("POST", "/admin/projects", { body: { id, name, origins: [] } }));
}

export async function getProject(project: string): Promise<Project> {
  return decodeProject(await call("GET", projectPath(project)));
}

export async function updateProject(
  project: string,
  change: { name?: string; origins?: string[] },
): Promise<Project> {
  return decodeProject(await call("PATCH", projectPath(project), { body: { ...change } }));
}

export async function deleteProject(project: string): Promise<void> {
  await call("DELETE", projectPath(project));
}

// Keys

function decodeKey(tree: JsonObject): ApiKey {
  return {
    id: String(tree.id),
    kind: tree.kind === "secret" ? "secret" : "publishable",
    name: text(tree.name) ?? "",
    prefix: text(tree.prefix) ?? "",
    text: text(tree.key),
    created: text(tree.created) ?? "",
    revoked: text(tree.revoked),
  };
}

export async function listKeys(project: string): Promise<ApiKey[]> {
  return list((await call("GET", `${projectPath(project)}/keys`)).keys).map(decodeKey);
}

export async function createKey(
  project: string,
  kind: ApiKey["kind"],
  name: string,
): Promise<ApiKey> {
  const body = { kind, name };
  return decodeKey(await call("POST", `${projectPath(project)}/keys`, { body }));
}

export async function revokeKey(project: string, id: string): Promise<void> {
  await call("DELETE", `${projectPath(project)}/keys/${enc(id)}`);
}

// Databases

export async function listDatabases(project: string): Promise<string[]> {
  const { databases } = await call("GET", `${projectPath(project)}/databases`);
  return list(databases).map((item) => String(item.id));
}

export async function createDatabase(project: string, id: string): Promise<void> {
  await call("POST", `${projectPath(project)}/databases`, { body: { id } });
}

export async function listCollections(
  project: string,
  database: string,
  parent: string | null,
  signal?: AbortSignal,
): Promise<string[]> {
  const query = parent === null ? "" : `?parent=${enc(parent)}`;
  const path = `${projectPath(project)}/databases/${enc(database)}/collections${query}`;
  const { collections } = await call("GET", path, signal === undefined ? {} : { signal });
  return Array.isArray(collections) ? collections.map(String) : [];
}

// Users

function decodeUser(tree: JsonObject): User {
  return {
    uid: String(tree.uid),
    email: text(tree.email) ?? "",
    emailVerified: tree.email_verified === true,
    disabled: tree.disabled === true,
    created: text(tree.created) ?? "",
    lastSignIn: text(tree.last_sign_in),
    claims: (tree.claims ?? {}) as JsonObject,
  };
}

export async function listUsers(
  project: string,
  pageToken: string | null,
  size: number,
): Promise<Page<User>> {
  const token = pageToken === null ? "" : `&page_token=${enc(pageToken)}`;
  const tree = await call("GET", `${projectPath(project)}/users?page_size=${size}${token}`);
  return { items: list(tree.users).map(decodeUser), nextPageToken: text(tree.next_page_token) };
}

/** Whoever has this e-mail address or uid: one or nobody. */
export async function findUsers(project: string, sought: string): Promise<Page<User>> {
  const users = `${projectPath(project)}/users`;
  if (sought.includes("@")) {
    const tree = await call("GET", `${users}?email=${enc(sought)}`);
    return { items: list(tree.users).map(decodeUser), nextPageToken: null };
  }
  try {
    return {
      items: [decodeUser(await call("GET", `${users}/${enc(sought)}`))],
      nextPageToken: null,
    };
  } catch (error) {
    if (!isReason(error, "UserNotFound")) throw error;
    return { items: [], nextPageToken: null };
  }
}

export async function createUser(project: string, email: string, password: string): Promise<User> {
  const body = { email, password };
  const tree = await call("POST", `${projectPath(project)}/users`, { body });
  return decodeUser(tree);
}

export async function updateUser(
  project: string,
  uid: string,
  { emailVerified, ...change }: UserChange,
): Promise<User> {
  const body: JsonObject = { ...change };
  if (emailVerified !== undefined) body.email_verified = emailVerified;
  return decodeUser(await call("PATCH", `${projectPath(project)}/users/${enc(uid)}`, { body }));
}

export async function deleteUser(project: string, uid: string): Promise<void> {
  await call("DELETE", `${projectPath(project)}/users/${enc(uid)}`);
}
