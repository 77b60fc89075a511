/** Colours for the rules language: a line tokenizer, no grammar; the server checks the rest. */

import { indentService, StreamLanguage, type StreamParser } from "@codemirror/language";
import type { Extension } from "@codemirror/state";
import { tags } from "@lezer/highlight";

interface State {
  comment: boolean;
  /** After `match`, up to the brace that opens its block. */
  path: boolean;
  /** After `allow`, up to the colon. */
  methods: boolean;
  /** After `service`, up to its name. */
  service: boolean;
}

const KEYWORDS = /^(?:service|match|allow|function|return|let|if|in|is|import|as)\b/;
const METHODS = /^(?:read|write|get|list|create|update|delete)\b/;
const ATOMS = /^(?:true|false|null)\b/;
const GLOBALS =
  /^(?:request|resource|math|timestamp|duration|latlng|hashing|firestore|exists|get|getAfter|existsAfter|debug|path|rules_version)\b/;
const TYPES =
  /^(?:bool|bytes|constraint|duration|float|int|latlng|list|map|number|path|set|string|timestamp)\b/;

export const parser: StreamParser<State> = {
  name: "rules",
  startState: () => ({ comment: false, path: false, methods: false, service: false }),
  token(stream, state) {
    if (state.comment) {
      state.comment = !stream.match(/^.*?\*\//);
      if (state.comment) stream.skipToEnd();
      return "comment";
    }
    if (stream.eatSpace()) return null;
    if (stream.match("//")) {
      stream.skipToEnd();
      return "comment";
    }
    if (stream.match("/*")) {
      state.comment = true;
      return "comment";
    }
    if (stream.match(/^"(?:[^"\\]|\\.)*"?|^'(?:[^'\\]|\\.)*'?/)) return "string";
    if (state.path) {
      if (stream.match(/^\{[^}\s]*\}/)) return "wildcard";
      if (stream.match(/^[^\s{}]+/)) return "path";
      state.path = false;
    }
    if (state.service) {
      state.service = false;
      if (stream.match(/^(?:cloud\.firestore|firebase\.storage)\b/)) return "service";
    }
    if (stream.match(/^\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/)) return "number";
    if (state.methods && stream.match(METHODS)) return "method";
    const before = stream.string.slice(0, stream.start).trimEnd();
    const member = before.endsWith(".") && !before.endsWith("..");
    if (!member) {
      if (/\bis$/.test(before) && stream.match(TYPES)) return "type";
      const word = stream.match(KEYWORDS);
      if (word !== null && word !== false) {
        const text = stream.current();
        state.path = text === "match";
        state.service = text === "service";
        if (text === "allow") state.methods = true;
        return "keyword";
      }
      if (stream.match(ATOMS)) return "atom";
      if (stream.match(GLOBALS)) return "global";
    }
    if (stream.match(/^[A-Za-z_]\w*(?=\s*\()/)) return "call";
    if (stream.match(/^[A-Za-z_]\w*/)) return member ? "member" : "name";
    if (stream.eat(":") || stream.eat(";")) {
      state.methods = false;
      return "punctuation";
    }
    stream.next();
    return "operator";
  },
  tokenTable: {
    wildcard: tags.special(tags.string),
    path: tags.string,
    method: tags.typeName,
    service: tags.typeName,
    type: tags.typeName,
    atom: tags.bool,
    global: tags.standard(tags.variableName),
    call: tags.function(tags.variableName),
    member: tags.propertyName,
    name: tags.variableName,
  },
  languageData: {
    commentTokens: { line: "//", block: { open: "/*", close: "*/" } },
    closeBrackets: { brackets: ["(", "[", "{", "'", '"'] },
    indentOnInput: /^\s*\}$/,
  },
};

/** One step deeper after an opening bracket, one back before a closing one. */
const indentation = indentService.of((context, position) => {
  const { doc } = context.state;
  const line = doc.lineAt(position);
  let number = line.number - 1;
  while (number > 0 && doc.line(number).text.trim() === "") number -= 1;
  if (number === 0) return 0;
  const previous = doc.line(number).text;
  const depth = previous.length - previous.trimStart().length;
  const opens = /[{([]\s*(?:\/\/.*)?$/.test(previous) ? context.unit : 0;
  const rest = line.text.slice(Math.max(0, position - line.from));
  const closes = /^\s*[})\]]/.test(rest) ? context.unit : 0;
  return Math.max(0, depth + opens - closes);
});

export const rulesLanguage: Extension = [StreamLanguage.define(parser), indentation];
