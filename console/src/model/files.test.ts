import { describe, expect, test } from "vitest";
import {
  baseName,
  faultOfBucket,
  faultOfName,
  folderOf,
  formatSize,
  metadataOf,
  prefixOf,
  previewOf,
} from "./files";
import { filesHash, parseHash } from "./routes";

describe("names", () => {
  test("are folders and files", () => {
    expect(baseName("a/b/c.png")).toBe("c.png");
    expect(baseName("a/b/")).toBe("b");
    expect(baseName("c")).toBe("c");
    expect(folderOf("a/b/c.png")).toEqual(["a", "b"]);
    expect(prefixOf(["a", "b"])).toBe("a/b/");
    expect(prefixOf([])).toBe("");
  });

  test.each([
    ["a/b c.png", true],
    ["", false],
    ["a//b", false],
    ["../x", false],
    ["a/./b", false],
    ["a\nb", false],
    ["é".repeat(512), true],
    ["é".repeat(513), false],
  ])("%j may be a name: %s", (name, may) => {
    expect(faultOfName(name) === null).toBe(may);
  });

  test("of buckets", () => {
    expect(faultOfBucket("default")).toBeNull();
    expect(faultOfBucket("my.photos-2")).toBeNull();
    expect(faultOfBucket("No")).not.toBeNull();
    expect(faultOfBucket("-ab")).not.toBeNull();
  });
});

test("sizes are read at a glance", () => {
  expect([0, 1023, 1536, 5 * 2 ** 20, 3 * 2 ** 40].map(formatSize)).toEqual([
    "0 B",
    "1023 B",
    "1.5 KiB",
    "5.0 MiB",
    "3.0 TiB",
  ]);
});

describe("previews", () => {
  test.each([
    ["image/png", "image/png", "image"],
    ["application/octet-stream", "image/jpeg", "image"],
    ["image/png", "text/html", "text"],
    ["image/svg+xml", null, "text"],
    ["text/html; charset=utf-8", "text/html", "text"],
    ["application/ld+json", null, "text"],
    ["video/mp4", null, "video"],
    ["audio/mpeg", null, "audio"],
    ["application/pdf", "application/pdf", null],
    [null, null, null],
  ])("%s that looks like %s is shown as %s", (declared, sniffed, shown) => {
    expect(previewOf(declared, sniffed)).toBe(shown);
  });
});

test("rows of metadata", () => {
  expect(
    metadataOf([
      { key: "a", value: "1" },
      { key: "", value: "" },
      { key: "__proto__", value: "x" },
    ]),
  ).toEqual(
    Object.fromEntries([
      ["a", "1"],
      ["__proto__", "x"],
    ]),
  );
  expect(metadataOf([{ key: "", value: "x" }])).toContain("no key");
  expect(
    metadataOf([
      { key: "a", value: "1" },
      { key: "a", value: "2" },
    ]),
  ).toContain("twice");
});

test("folders and files have addresses", () => {
  expect(filesHash("demo", null)).toBe("#/projects/demo/files");
  const hash = filesHash("demo", "default", ["a b", "c/%?#"], "a b/x&y.png");
  expect(parseHash(hash)).toEqual({
    page: "files",
    project: "demo",
    bucket: "default",
    folder: ["a b", "c/%?#"],
    object: "a b/x&y.png",
  });
  expect(parseHash("#/projects/demo/files")).toEqual({
    page: "files",
    project: "demo",
    bucket: null,
    folder: [],
    object: null,
  });
});
