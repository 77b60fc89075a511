import { renderToStaticMarkup } from "react-dom/server";
import { describe, expect, test } from "vitest";
import { jsx, jsxs } from "./jsx-runtime";

const SPOOF = "ad\u202ea";
const MARK = '<span class="hidden-mark" title="U+202E, right-to-left override">\\u202e</span>';

describe("whatever is rendered shows its hidden characters", () => {
  test("in elements, alone and among others", () => {
    expect(renderToStaticMarkup(jsx("code", { children: SPOOF }))).toBe(`<code>ad${MARK}a</code>`);
    expect(renderToStaticMarkup(jsxs("p", { children: ["By ", SPOOF, 1, null] }))).toBe(
      `<p>By ad${MARK}a1</p>`,
    );
    expect(renderToStaticMarkup(jsxs("p", { children: ["By ", [SPOOF, "b"]] }))).toContain(MARK);
  });

  test("in what is read out or shown over it", () => {
    expect(renderToStaticMarkup(jsx("a", { title: SPOOF, "aria-label": `Open ${SPOOF}` }))).toBe(
      '<a title="ad\\u202ea" aria-label="Open ad\\u202ea"></a>',
    );
  });

  test("in what components are given, but nothing that they work with", () => {
    const Row = ({ label, path, children }: Record<string, string>) =>
      jsxs("p", { "data-path": path, children: [label, ": ", children] });
    expect(renderToStaticMarkup(jsx(Row, { label: SPOOF, path: SPOOF, children: SPOOF }))).toBe(
      `<p data-path="${SPOOF}">ad\\u202ea: ad${MARK}a</p>`,
    );
  });

  test("where only text may be, and where lines are seen", () => {
    expect(renderToStaticMarkup(jsx("option", { value: SPOOF, children: SPOOF }))).toBe(
      `<option value="${SPOOF}">ad\\u202ea</option>`,
    );
    expect(renderToStaticMarkup(jsx("pre", { children: "a\nb\u0007" }))).toContain("a\nb<span");
  });

  test("and all else is left as it is", () => {
    const props = { children: ["plain", "text"], title: "plain" };
    expect(jsxs("p", props).props).toBe(props);
  });
});
