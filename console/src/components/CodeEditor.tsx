import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import {
  bracketMatching,
  HighlightStyle,
  indentOnInput,
  indentUnit,
  syntaxHighlighting,
} from "@codemirror/language";
import { type Diagnostic, lintGutter, setDiagnostics } from "@codemirror/lint";
import { highlightSelectionMatches, search, searchKeymap } from "@codemirror/search";
import { EditorState, type Extension } from "@codemirror/state";
import {
  drawSelection,
  EditorView,
  highlightActiveLine,
  highlightActiveLineGutter,
  highlightSpecialChars,
  keymap,
  lineNumbers,
} from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { type ReactNode, type RefObject, useEffect, useRef } from "react";
import { HIDDEN_CHARACTERS, nameOf, visible } from "../model/text";
import { NOTHING_PAINTED, type Painted, painting, setPainted } from "./painting";

/** What stands for a hidden character, as everywhere in the console. */
function markOf(code: number): HTMLElement {
  const character = String.fromCodePoint(code);
  const mark = document.createElement("span");
  mark.className = "hidden-mark";
  mark.title = nameOf(character);
  mark.textContent = visible(character);
  return mark;
}

const look = EditorView.theme({
  "&": { backgroundColor: "var(--panel)", color: "var(--text)", fontSize: "12.5px" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.6" },
  ".cm-content": { padding: "10px 0", caretColor: "var(--accent)" },
  ".cm-gutters": {
    backgroundColor: "var(--panel)",
    color: "var(--muted)",
    border: "none",
    paddingLeft: "6px",
  },
  ".cm-lineNumbers .cm-gutterElement": { minWidth: "30px", padding: "0 8px 0 4px" },
  ".cm-activeLine, .cm-activeLineGutter": {
    backgroundColor: "color-mix(in srgb, var(--accent) 6%, transparent)",
  },
  ".cm-cursor": { borderLeftColor: "var(--accent)", borderLeftWidth: "2px" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground":
    { backgroundColor: "color-mix(in srgb, var(--accent) 22%, transparent)" },
  ".cm-matchingBracket, &.cm-focused .cm-matchingBracket": {
    backgroundColor: "color-mix(in srgb, var(--accent) 20%, transparent)",
    outline: "none",
  },
  ".cm-panels": {
    backgroundColor: "var(--sunken)",
    color: "var(--text)",
    borderColor: "var(--line)",
  },
  ".cm-tooltip": {
    backgroundColor: "var(--panel)",
    border: "1px solid var(--line-strong)",
    borderRadius: "6px",
    boxShadow: "var(--shadow)",
    fontSize: "12.5px",
  },
  ".cm-diagnostic": { padding: "5px 10px", borderLeft: "none" },
  ".cm-lintRange-error": {
    backgroundImage: "none",
    textDecoration: "underline wavy var(--danger) 1px",
    textUnderlineOffset: "3px",
  },
  ".cm-lintRange-warning": {
    backgroundImage: "none",
    textDecoration: "underline wavy var(--changed) 1px",
    textUnderlineOffset: "3px",
  },
  ".cm-gutter-lint": { width: "14px" },
  ".cm-gutter-lint .cm-gutterElement": { padding: "0" },
  ".cm-lint-marker": { content: "none", width: "8px", height: "8px", margin: "6px 2px" },
  ".cm-lint-marker-error": { content: "none", borderRadius: "50%", background: "var(--danger)" },
  ".cm-lint-marker-warning": { content: "none", borderRadius: "50%", background: "var(--changed)" },
  // Colours of the language must be read on these, so what changed within a line is underlined.
  ".cm-changedLine": {
    backgroundColor: "color-mix(in srgb, var(--good) 8%, transparent) !important",
  },
  ".cm-changedText": {
    background: "color-mix(in srgb, var(--good) 6%, transparent) !important",
    boxShadow: "inset 0 -2px var(--good)",
  },
  ".cm-deletedChunk": { backgroundColor: "var(--danger-soft) !important" },
  ".cm-deletedChunk .cm-deletedText": {
    background: "transparent !important",
    boxShadow: "inset 0 -2px var(--danger)",
  },
  ".cm-collapsedLines": {
    background: "var(--sunken)",
    color: "var(--muted)",
    padding: "3px 10px",
  },
  // The original sign is in few fonts.
  ".cm-collapsedLines:before, .cm-collapsedLines:after": { content: '"···"', padding: "0 6px" },
});

const colours = HighlightStyle.define([
  { tag: [tags.keyword, tags.controlKeyword], color: "var(--t-boolean)", fontWeight: "500" },
  { tag: [tags.string, tags.regexp], color: "var(--t-string)" },
  { tag: [tags.number, tags.bool, tags.null], color: "var(--t-number)" },
  { tag: [tags.comment], color: "var(--muted)", fontStyle: "italic" },
  { tag: [tags.propertyName], color: "var(--t-other)" },
  { tag: [tags.standard(tags.variableName)], color: "var(--t-reference)" },
  { tag: [tags.function(tags.variableName)], color: "var(--t-other)" },
  { tag: [tags.special(tags.string)], color: "var(--t-time)" },
  { tag: [tags.typeName], color: "var(--t-time)" },
  { tag: [tags.operator, tags.punctuation, tags.bracket], color: "var(--muted)" },
]);

export const codeLook: Extension = [look, syntaxHighlighting(colours)];

export interface Mark {
  from: number;
  to: number;
  severity: "error" | "warning";
  message: string;
}

/**
 * A code editor. `value` replaces the text only when it differs from what the editor holds, so
 * typing is never disturbed. Tab indents; Escape and then Tab leaves it, as CodeMirror documents.
 */
export function CodeEditor({
  value,
  onChange,
  language,
  label,
  marks,
  painted = NOTHING_PAINTED,
  readOnly = false,
  viewRef,
}: {
  value: string;
  onChange?: (text: string) => void;
  language: Extension;
  label: string;
  marks?: readonly Mark[];
  painted?: Painted;
  readOnly?: boolean;
  viewRef?: RefObject<EditorView | null>;
}): ReactNode {
  const holder = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView | null>(null);
  const changed = useRef(onChange);
  changed.current = onChange;
  const first = useRef(value);

  useEffect(() => {
    if (holder.current === null) return undefined;
    const made = new EditorView({
      parent: holder.current,
      state: EditorState.create({
        doc: first.current,
        extensions: [
          lineNumbers(),
          highlightActiveLineGutter(),
          highlightActiveLine(),
          highlightSpecialChars({ specialChars: HIDDEN_CHARACTERS, render: markOf }),
          drawSelection(),
          history(),
          indentOnInput(),
          bracketMatching(),
          highlightSelectionMatches(),
          search({ top: true }),
          lintGutter(),
          indentUnit.of("  "),
          keymap.of([...defaultKeymap, ...historyKeymap, ...searchKeymap, indentWithTab]),
          EditorState.readOnly.of(readOnly),
          EditorView.contentAttributes.of({ "aria-label": label, tabindex: "0" }),
          EditorView.updateListener.of((update) => {
            if (update.docChanged) changed.current?.(update.state.doc.toString());
          }),
          painting,
          language,
          codeLook,
        ],
      }),
    });
    view.current = made;
    if (viewRef !== undefined) viewRef.current = made;
    return () => {
      first.current = made.state.doc.toString();
      made.destroy();
      view.current = null;
    };
  }, [language, label, readOnly, viewRef]);

  useEffect(() => {
    const editor = view.current;
    if (editor === null || editor.state.doc.toString() === value) return;
    editor.dispatch({ changes: { from: 0, to: editor.state.doc.length, insert: value } });
  }, [value]);

  useEffect(() => {
    const editor = view.current;
    if (editor === null) return;
    const most = editor.state.doc.length;
    const shown: Diagnostic[] = (marks ?? []).map((mark) => ({
      ...mark,
      from: Math.min(mark.from, most),
      to: Math.min(Math.max(mark.to, mark.from), most),
    }));
    editor.dispatch(setDiagnostics(editor.state, shown));
  }, [marks]);

  useEffect(() => {
    view.current?.dispatch({ effects: setPainted.of(painted) });
  }, [painted]);

  return <div className="code" ref={holder} />;
}
