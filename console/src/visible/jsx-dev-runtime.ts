/** The same for `npm run dev`. */

import type { ElementType, Key, ReactElement } from "react";
import { jsx, jsxs } from "./jsx-runtime";

export { Fragment, type JSX } from "./jsx-runtime";

export function jsxDEV(
  type: ElementType,
  props: Record<string, unknown>,
  key: Key | undefined,
  isStatic: boolean,
): ReactElement {
  return (isStatic ? jsxs : jsx)(type, props, key);
}
