/** How this app makes elements: as React does, but text with hidden characters shows them.
 *
 * Ids, paths, field names, values, e-mail addresses, file names, messages: nearly all that is shown
 * was written by somebody else, and a mark that turns the direction of text, or a space without
 * width, makes one of them look like another. So it is no page's business to remember it: whatever
 * text is rendered, in an element or in what is read out or shown over it, passes through here.
 */

import type { ElementType, Key, ReactElement, ReactNode } from "react";
import { Fragment, jsx as make, jsxs as makeStatic } from "react/jsx-runtime";
import { hidesNothing, visible } from "../model/text";
import { Marked } from "./Marked";

export { Fragment };
export type { JSX } from "react/jsx-runtime";

type Props = Record<string, unknown>;

/** Properties that are shown, of elements and of components. */
const SHOWN = ["title", "aria-label", "label", "description", "error", "placeholder", "alt"];
const KEEP_LINES = new Set<unknown>(["pre", "mark", "textarea"]);
/** Elements that hold text and nothing else. */
const TEXT_ONLY = new Set<unknown>(["option", "title", "textarea", "style"]);

export function jsx(type: ElementType, props: Props, key?: Key): ReactElement {
  return make(type, shown(type, props), key);
}

export function jsxs(type: ElementType, props: Props, key?: Key): ReactElement {
  return makeStatic(type, shown(type, props), key);
}

function shown(type: ElementType, props: Props): Props {
  let result = props;
  for (const name of SHOWN) {
    const text = props[name];
    if (typeof text === "string" && !hidesNothing(text))
      result = { ...result, [name]: visible(text) };
  }
  const { children } = props;
  if (typeof children !== "string" && !Array.isArray(children)) return result;
  const marked = mark(children as ReactNode, type);
  return marked === children ? result : { ...result, children: marked };
}

/** The same children where there is nothing to mark. */
function mark(children: ReactNode, type: unknown, key?: Key): ReactNode {
  if (Array.isArray(children)) {
    const items = children as readonly ReactNode[];
    const marked = items.map((item, at) => mark(item, type, `marked-${at}`));
    return items.every((item, at) => item === marked[at]) ? children : marked;
  }
  if (typeof children !== "string" || hidesNothing(children)) return children;
  if (TEXT_ONLY.has(type)) return visible(children);
  return make(Marked, { text: children, keepsLines: KEEP_LINES.has(type) }, key);
}
