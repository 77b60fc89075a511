/** Document and collection paths, and field paths, as the server reads them. */

export type Segments = readonly string[];

export function isCollection(segments: Segments): boolean {
  return segments.length % 2 === 1;
}

export function isDocument(segments: Segments): boolean {
  return segments.length > 0 && segments.length % 2 === 0;
}

export function splitPath(path: string): Segments {
  return path
    .trim()
    .replace(/^\/+|\/+$/g, "")
    .split("/")
    .filter((segment) => segment !== "");
}

/** A path as part of a URL: every segment escaped, dots alone too, as browsers remove those. */
export function urlPath(segments: Segments): string {
  return segments.map((segment) => encodeURIComponent(segment)).join("/");
}

/** Says what is wrong with a document or collection id, or null. */
export function faultOfId(id: string): string | null {
  if (id === "") return "an id cannot be empty";
  if (id.includes("/")) return "an id cannot contain /";
  if (id === "." || id === "..") return "an id cannot be . or ..";
  if (/^__.*__$/s.test(id) && !isNumericId(id)) return "ids of the form __…__ are reserved";
  if (new TextEncoder().encode(id).length > 1500) return "an id has at most 1,500 bytes";
  return null;
}

/** `__id7__`: a number of 64 bits in its shortest form. */
function isNumericId(id: string): boolean {
  const found = /^__id(-?[1-9]\d{0,18}|0)__$/.exec(id);
  return (
    found !== null && BigInt.asIntN(64, BigInt(found[1] as string)) === BigInt(found[1] as string)
  );
}

/** Says what is wrong with a document path as text, or null. Nothing is trimmed or forgiven. */
export function faultOfDocumentPath(text: string): string | null {
  const segments = text.split("/");
  return segments.length % 2 === 0
    ? faultOfPath(segments)
    : "must be a document path, such as users/ada";
}

/** Says what is wrong with a path of ids, or null. */
export function faultOfPath(segments: Segments): string | null {
  if (segments.length === 0) return "a path cannot be empty";
  for (const segment of segments) {
    const fault = faultOfId(segment);
    if (fault !== null) return fault;
  }
  return null;
}

/** One segment of a field path: in backticks unless it is a simple word. */
export function fieldSegment(name: string): string {
  if (/^[A-Za-z_][A-Za-z_0-9]*$/.test(name)) return name;
  return `\`${name.replace(/\\/g, "\\\\").replace(/`/g, "\\`")}\``;
}

/** The names of a field path: a.`b c` has two. */
export function fieldNames(path: string): string[] {
  const parts = path.match(/`(?:\\.|[^`\\])*`|[^.`]+/gs) ?? [];
  return parts.map((part) =>
    part.startsWith("`") ? part.slice(1, -1).replace(/\\(.)/gs, "$1") : part,
  );
}

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/** A fresh document id of 20 letters and digits, evenly drawn. */
export function newId(): string {
  let id = "";
  while (id.length < 20) {
    for (const byte of crypto.getRandomValues(new Uint8Array(32)))
      if (byte < 248 && id.length < 20) id += ALPHABET[byte % 62];
  }
  return id;
}
