/** Objects as files and folders: names, sizes, and what can be shown of them. Pure. */

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"] as const;
const NAME_BYTES_MAX = 1024;

/** 1536 as `1.5 KiB`. */
export function formatSize(bytes: number): string {
  let size = bytes;
  let unit = 0;
  while (size >= 1024 && unit < UNITS.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return unit === 0 ? `${bytes} B` : `${size.toFixed(1)} ${UNITS[unit]}`;
}

/** The last part of a name; of a folder's prefix, the folder's own name. */
export function baseName(name: string): string {
  const bare = name.endsWith("/") ? name.slice(0, -1) : name;
  return bare.slice(bare.lastIndexOf("/") + 1);
}

/** `["a", "b"]` as the prefix `a/b/`. */
export function prefixOf(folder: readonly string[]): string {
  return folder.map((part) => `${part}/`).join("");
}

/** The folders of a name: `a/b/c.png` as `["a", "b"]`. */
export function folderOf(name: string): readonly string[] {
  return name.split("/").slice(0, -1);
}

/** Says what is wrong with an object's name, or null. The server has the last word. */
export function faultOfName(name: string): string | null {
  if (name === "") return "a name cannot be empty";
  if (new TextEncoder().encode(name).length > NAME_BYTES_MAX)
    return "a name has at most 1,024 bytes";
  if (/[\u0000-\u001f\u007f]/.test(name)) return "a name has no control characters";
  if (name.split("/").some((part) => part === "" || part === "." || part === ".."))
    return "between slashes stands a name, and not . or ..";
  return null;
}

export function faultOfBucket(id: string): string | null {
  return /^[a-z0-9][a-z0-9._-]{2,62}$/.test(id)
    ? null
    : "3 to 63 of a-z, 0-9, -, _ and ., the first a letter or digit";
}

export type Preview = "image" | "text" | "audio" | "video" | null;

const PICTURES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"]);
const TEXTS =
  /^(?:text\/|application\/(?:json|xml|javascript|x-ndjson|yaml|toml|sql|[\w.-]+\+(?:json|xml))|image\/svg\+xml)/;

/**
 * How an object is shown. Everything that could carry a script (HTML, SVG, XML) is shown as its
 * text; pictures as the server's own rendering of them.
 */
export function previewOf(contentType: string | null, sniffedType: string | null): Preview {
  const declared = bareType(contentType);
  const sniffed = bareType(sniffedType);
  if (PICTURES.has(sniffed) || (sniffed === "" && PICTURES.has(declared))) return "image";
  if (declared.startsWith("audio/")) return "audio";
  if (declared.startsWith("video/")) return "video";
  if (TEXTS.test(declared) || TEXTS.test(sniffed)) return "text";
  return null;
}

function bareType(type: string | null): string {
  return (type ?? "").split(";")[0]?.trim().toLowerCase() ?? "";
}

export interface MetadataRow {
  key: string;
  value: string;
}

/** The rows of an editor as metadata; a text says what is wrong with them. */
export function metadataOf(rows: readonly MetadataRow[]): Record<string, string> | string {
  const found = new Map<string, string>();
  for (const { key, value } of rows) {
    if (key === "" && value === "") continue;
    if (key === "") return `the value “${value}” has no key`;
    if (found.has(key)) return `the key “${key}” stands twice`;
    found.set(key, value);
  }
  return Object.fromEntries(found);
}
