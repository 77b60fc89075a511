import { json } from "@codemirror/lang-json";
import type { ReactNode } from "react";
import { CodeEditor, type Mark } from "./CodeEditor";

const language = json();

/** Loaded on demand, hence the default export. */
export default function JsonEditor(props: {
  value: string;
  marks: readonly Mark[];
  onChange: (text: string) => void;
}): ReactNode {
  return <CodeEditor label="Fields as JSON" language={language} {...props} />;
}
