/** Stretches and lines of a text that are painted: what was covered, what was true. */

import { type Extension, type Range, StateEffect, StateField, type Text } from "@codemirror/state";
import { Decoration, type DecorationSet, EditorView } from "@codemirror/view";
import type { Paint } from "../rules/paint";

export interface Painted {
  paints: readonly Paint[];
  /** Lines that are marked at their edge. */
  lines: ReadonlyMap<number, Paint["tone"]>;
}

export const NOTHING_PAINTED: Painted = { paints: [], lines: new Map() };
export const setPainted = StateEffect.define<Painted>();

function decorate({ paints, lines }: Painted, text: Text): DecorationSet {
  const ranges: Range<Decoration>[] = [];
  for (const [line, tone] of lines)
    if (line <= text.lines)
      ranges.push(Decoration.line({ class: `cm-edge-${tone}` }).range(text.line(line).from));
  for (const { from, to, tone, title } of paints)
    if (from < to && to <= text.length)
      ranges.push(
        Decoration.mark({ class: `cm-paint-${tone}`, attributes: { title } }).range(from, to),
      );
  return Decoration.set(ranges, true);
}

const field = StateField.define<DecorationSet>({
  create: () => Decoration.none,
  update(old, transaction) {
    let made = old.map(transaction.changes);
    for (const effect of transaction.effects)
      if (effect.is(setPainted)) made = decorate(effect.value, transaction.newDoc);
    return made;
  },
  provide: (one) => EditorView.decorations.from(one),
});

function colour(name: string, strength: number): string {
  return `color-mix(in srgb, var(--${name}) ${strength}%, transparent)`;
}

const look = EditorView.theme({
  ".cm-paint-good": { backgroundColor: colour("good", 16) },
  ".cm-paint-part": {
    backgroundColor: colour("changed", 22),
    boxShadow: "inset 0 -1px var(--changed)",
  },
  ".cm-paint-bad": {
    backgroundColor: colour("danger", 18),
    boxShadow: "inset 0 -1px var(--danger)",
  },
  ".cm-edge-good": { boxShadow: "inset 3px 0 var(--good)" },
  ".cm-edge-part": { boxShadow: "inset 3px 0 var(--changed)" },
  ".cm-edge-bad": { boxShadow: "inset 3px 0 var(--danger)" },
});

export const painting: Extension = [field, look];
