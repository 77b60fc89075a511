/** A text in which every hidden character is a mark that says which one it is. */

import { Fragment, type ReactNode } from "react";
import { jsx, jsxs } from "react/jsx-runtime";
import { piecesOf } from "../model/text";

/** `keepsLines`: ends of lines and tabs are seen where it stands. */
export function Marked({
  text,
  keepsLines = false,
}: {
  text: string;
  keepsLines?: boolean;
}): ReactNode {
  const children = piecesOf(text, keepsLines).map((piece) =>
    piece.name === null
      ? piece.text
      : jsx("span", { className: "hidden-mark", title: piece.name, children: piece.text }),
  );
  return jsxs(Fragment, { children });
}
