/** Colours for files of tests: as much of YAML as they use, a line at a time. */

import { indentService, StreamLanguage } from "@codemirror/language";
import type { Extension } from "@codemirror/state";

const parser = StreamLanguage.define<null>({
  name: "yaml",
  startState: () => null,
  token(stream) {
    if (stream.eatSpace()) return null;
    const before = stream.string.slice(0, stream.pos);
    if (stream.peek() === "#" && (before === "" || /\s$/.test(before))) {
      stream.skipToEnd();
      return "comment";
    }
    const isFirst = /(?:^|[{[,-])\s*$/.test(before);
    if (
      isFirst &&
      stream.match(
        /^(?:"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s{}[\],"'#:][^{}[\],#]*?)(?=\s*:(?:\s|$))/,
      )
    )
      return "propertyName";
    if (stream.match(/^"(?:[^"\\]|\\.)*"?|^'(?:[^']|'')*'?/)) return "string";
    if (stream.match(/^-?\d+(?:\.\d+)?(?=[\s,}\]]|$)/)) return "number";
    if (stream.match(/^(?:true|false|null)(?=[\s,}\]]|$)/)) return "bool";
    if (stream.match(/^(?:allow|deny)(?=[\s,}\]]|$)/)) return "keyword";
    if (stream.match(/^[-{}[\],:]/)) return "punctuation";
    stream.next();
    stream.match(/^[^\s{}[\],:"']+/);
    return "string";
  },
  languageData: { commentTokens: { line: "#" }, closeBrackets: { brackets: ["(", "[", "{", '"'] } },
});

/** As deep as the line above; deeper after what opens a block. */
const indentation = indentService.of((context, position) => {
  const line = context.state.doc.lineAt(position);
  if (line.number === 1) return 0;
  const above = context.state.doc.line(line.number - 1).text;
  const depth = above.length - above.trimStart().length;
  return /:\s*$/.test(above) || /^\s*- /.test(above) ? depth + context.unit : depth;
});

export const yamlLanguage: Extension = [parser, indentation];
