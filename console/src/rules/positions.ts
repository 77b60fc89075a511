/** From the server's lines and columns, which count characters, to offsets in UTF-16. */

export interface Span {
  from: number;
  to: number;
}

let last: { text: string; spans: readonly Span[] } = { text: "", spans: [{ from: 0, to: 0 }] };

/** Many places are asked of one text. */
export function lineSpans(text: string): readonly Span[] {
  if (last.text !== text) last = { text, spans: splitLines(text) };
  return last.spans;
}

function splitLines(text: string): Span[] {
  const spans: Span[] = [];
  let from = 0;
  for (const line of text.split("\n")) {
    spans.push({ from, to: from + line.length });
    from += line.length + 1;
  }
  return spans;
}

/** Where a place stands in the text; what lies outside is moved to the nearest place inside. */
export function spanOf(text: string, line: number, column: number, endColumn: number): Span {
  const spans = lineSpans(text);
  const span = spans[Math.min(Math.max(line, 1), spans.length) - 1] as Span;
  const characters = Array.from(text.slice(span.from, span.to));
  const offset = (at: number) => characters.slice(0, Math.max(0, at - 1)).join("").length;
  const from = span.from + offset(column);
  const to = span.from + offset(endColumn);
  return { from, to: Math.max(to, Math.min(from + 1, span.to)) };
}
