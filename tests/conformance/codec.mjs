// Native JSON for JavaScript (docs/values.md): decode(tree) to values, encode(value) back to a tree.
//
// null, boolean, string, Array, Uint8Array as they are; a Map for maps (keys such as `__proto__` are
// ordinary there). Integers are numbers, or BigInt beyond ±(2^53-1); doubles are numbers unless they
// are whole or not finite, then Double. Timestamps keep their text: a Date has no microseconds.
//
// Run by itself it is a filter: one JSON text per line in, the re-encoded text or {"error"} out.

export class Double { constructor(value) { this.value = value; } }
export class Timestamp { constructor(text) { this.text = text; } }
export class Reference { constructor(path) { this.path = path; } }
export class GeoPoint { constructor(latitude, longitude) { Object.assign(this, { latitude, longitude }); } }
export class Vector { constructor(values) { this.values = values; } }

const INT64_MIN = -(2n ** 63n), INT64_MAX = 2n ** 63n - 1n;
const WORDS = { NaN, Infinity, "-Infinity": -Infinity, "-0": -0 };
const TIME = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)$/;

function refuse(problem) { throw new Error(problem); }

export function decode(tree, inArray = false) {
  if (tree === null || typeof tree === "boolean" || typeof tree === "string") return tree;
  if (typeof tree === "number") return tree;
  if (Array.isArray(tree)) {
    return inArray ? refuse("array in array") : tree.map((item) => decode(item, true));
  }
  const keys = Object.keys(tree);
  if (keys.length === 1 && keys[0].startsWith("$") && !keys[0].startsWith("$$")) {
    const read = DECODERS[keys[0]] ?? refuse(`unknown tag ${keys[0]}`);
    return read(tree[keys[0]]);
  }
  return new Map(keys.map((key) => [decodeKey(key), decode(tree[key])]));
}

function decodeKey(key) {
  if (key.startsWith("$")) return key.startsWith("$$") ? key.slice(1) : refuse(`tag ${key} as a key`);
  if (key === "" || /^__.*__$/su.test(key)) refuse(`field name ${key}`);
  return key;
}

function decodeDouble(content) {
  if (typeof content === "number") return content;
  return typeof content === "string" && Object.hasOwn(WORDS, content)
    ? WORDS[content] : refuse("no double");
}

function wrap(number) {
  return Number.isInteger(number) || !Number.isFinite(number) ? new Double(number) : number;
}

const DECODERS = {
  __proto__: null,
  $int: (content) => {
    if (typeof content === "number" ? !Number.isInteger(content)
      : !(typeof content === "string" && /^-?(0|[1-9]\d*)$/.test(content))) refuse("no integer");
    const number = BigInt(content);
    if (number < INT64_MIN || number > INT64_MAX) refuse("no 64-bit integer");
    return Number.isSafeInteger(Number(number)) ? Number(number) : number;
  },
  $double: (content) => wrap(decodeDouble(content)),
  $timestamp: (content) =>
    typeof content === "string" && TIME.test(content) ? new Timestamp(content) : refuse("no time"),
  $bytes: (content) => {
    const bytes = typeof content === "string" ? Buffer.from(content, "base64") : refuse("no base64");
    return bytes.toString("base64") === content ? new Uint8Array(bytes) : refuse("no base64");
  },
  $ref: (content) =>
    typeof content === "string" && content.split("/").every((id) => id !== "" && id !== "." && id !== "..")
      && (content.split("/").length % 2 === 0 || /^projects\/[^/]+\/databases\/[^/]+\/documents\/./.test(content))
      ? new Reference(content) : refuse("no document path"),
  $geo: (content) => {
    if (!Array.isArray(content) || content.length !== 2) refuse("no geo point");
    const [latitude, longitude] = content.map(decodeDouble);
    return Math.abs(latitude) <= 90 && Math.abs(longitude) <= 180
      ? new GeoPoint(latitude, longitude) : refuse("no place on Earth");
  },
  $vector: (content) =>
    Array.isArray(content) && content.length > 0 ? new Vector(content.map(decodeDouble)) : refuse("no vector"),
};

export function encode(value) {
  if (value === null || typeof value === "boolean" || typeof value === "string") return value;
  if (typeof value === "bigint") {
    return Number.isSafeInteger(Number(value)) ? Number(value) : { $int: String(value) };
  }
  if (typeof value === "number") {
    // A number that is whole and safe means an integer; -0 and 1e300 can only have been doubles.
    const plain = Number.isInteger(value) ? Number.isSafeInteger(value) && !Object.is(value, -0)
      : Number.isFinite(value);
    return plain ? value : { $double: encodeDouble(value) };
  }
  if (value instanceof Double) {
    const number = value.value;
    return Number.isInteger(number) || !Number.isFinite(number) ? { $double: encodeDouble(number) } : number;
  }
  if (value instanceof Timestamp) return { $timestamp: value.text };
  if (value instanceof Uint8Array) return { $bytes: Buffer.from(value).toString("base64") };
  if (value instanceof Reference) return { $ref: value.path };
  if (value instanceof GeoPoint) return { $geo: [value.latitude, value.longitude].map(encodeDouble) };
  if (value instanceof Vector) return { $vector: value.values.map(encodeDouble) };
  if (Array.isArray(value)) return value.map(encode);
  const tree = Object.create(null);
  for (const [key, item] of value) tree[key.startsWith("$") ? "$" + key : key] = encode(item);
  return tree;
}

function encodeDouble(number) {
  if (Object.is(number, -0)) return "-0";
  return Number.isFinite(number) ? number : String(number);
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const { createInterface } = await import("node:readline");
  for await (const line of createInterface({ input: process.stdin })) {
    let answer;
    try {
      answer = encode(decode(JSON.parse(line)));
    } catch (error) {
      answer = { error: String(error.message) };
    }
    process.stdout.write(JSON.stringify(answer) + "\n");
  }
}
