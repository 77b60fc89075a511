/** Text that somebody else wrote, as it is shown: nothing in it is invisible. */

/** Whether a character cannot be seen where it stands. */
// Controls, formats (what turns the direction of text, joins, splits, tags), separators, halves of
// surrogate pairs, fillers and selectors of variants, and every space but the usual one: with any
// of them an id could look like another one. Signs of Arabic numbers are formats that are seen.
const HIDDEN =
  /(?![\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\uffa0]|(?! )\p{Zs}|[\u{e0100}-\u{e01ef}]/u;

// What joins emoji and letters of scripts that are written joined is their spelling.
const JOINED =
  /(?<=[\p{Extended_Pictographic}\p{Emoji_Modifier}\ufe0f])\u200d(?=\p{Extended_Pictographic})|(?<=[\p{L}\p{M}])(?<=[^\p{Script=Latin}\p{Script=Greek}\p{Script=Cyrillic}\p{Script=Han}])[\u200c\u200d](?=[\p{L}\p{M}])(?=[^\p{Script=Latin}\p{Script=Greek}\p{Script=Cyrillic}\p{Script=Han}])/u;

const SPLIT = new RegExp(`${JOINED.source}|(?<hidden>${HIDDEN.source})`, "gu");

const NAMES: Readonly<Record<string, string>> = {
  "\0": "null",
  "\t": "tab",
  "\n": "end of line",
  "\r": "carriage return",
  "\u00a0": "no-break space",
  "\u00ad": "soft hyphen",
  "\u200b": "zero width space",
  "\u200c": "zero width non-joiner",
  "\u200d": "zero width joiner",
  "\u200e": "left-to-right mark",
  "\u200f": "right-to-left mark",
  "\u202a": "left-to-right embedding",
  "\u202b": "right-to-left embedding",
  "\u202c": "pop directional formatting",
  "\u202d": "left-to-right override",
  "\u202e": "right-to-left override",
  "\u2060": "word joiner",
  "\u2066": "left-to-right isolate",
  "\u2067": "right-to-left isolate",
  "\u2068": "first strong isolate",
  "\u2069": "pop directional isolate",
  "\ufeff": "zero width no-break space",
};

/** A piece of a text: as it is, or one hidden character as what stands for it. */
export interface Piece {
  text: string;
  /** Null: as it is. */
  name: string | null;
}

/** `keepsLines`: ends of lines and tabs are seen where it is shown. */
export function piecesOf(text: string, keepsLines = false): Piece[] {
  const pieces: Piece[] = [];
  let from = 0;
  for (const match of text.matchAll(SPLIT)) {
    const hidden = match.groups?.hidden;
    if (hidden === undefined || (keepsLines && (hidden === "\n" || hidden === "\t"))) continue;
    if (match.index > from) pieces.push({ text: text.slice(from, match.index), name: null });
    pieces.push({ text: escapeOf(hidden), name: nameOf(hidden) });
    from = match.index + hidden.length;
  }
  if (from < text.length) pieces.push({ text: text.slice(from), name: null });
  return pieces;
}

export function hidesNothing(text: string): boolean {
  return !HIDDEN.test(text);
}

/** One line in which nothing is hidden. */
export function visible(text: string): string {
  if (hidesNothing(text)) return text;
  return piecesOf(text)
    .map((piece) => piece.text)
    .join("");
}

/** All that a special character may be, to be marked in an editor. */
export const HIDDEN_CHARACTERS = new RegExp(`(?![\\n\\t])(?:${HIDDEN.source})`, "gu");

function codeOf(character: string): string {
  return (character.codePointAt(0) ?? 0).toString(16).padStart(4, "0");
}

function escapeOf(character: string): string {
  if (character === "\n") return "↵";
  const code = codeOf(character);
  return code.length === 4 ? `\\u${code}` : `\\u{${code}}`;
}

export function nameOf(character: string): string {
  const code = `U+${codeOf(character).toUpperCase()}`;
  const name = NAMES[character];
  return name === undefined ? code : `${code}, ${name}`;
}
