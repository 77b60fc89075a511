/** Buckets, the folders and files of one, and one file. */

import { Button, Menu, TextInput } from "@mantine/core";
import {
  IconBucket,
  IconChevronDown,
  IconFolderPlus,
  IconFolderUp,
  IconHome,
  IconRefresh,
  IconUpload,
} from "@tabler/icons-react";
import { type ReactNode, useEffect, useRef, useState } from "react";
import { getProject } from "../api/admin";
import { chosenFiles, type Dropped } from "../api/dropped";
import { listBuckets } from "../api/files";
import { useLoaded } from "../api/hooks";
import { addUploads } from "../api/uploads";
import { BucketsPane } from "../components/BucketsPane";
import { IconAction } from "../components/controls";
import { FilePane } from "../components/FilePane";
import { FilesPane } from "../components/FilesPane";
import { FormDialog } from "../components/FormDialog";
import { Empty, Failed, toastError } from "../components/feedback";
import { faultOfName, prefixOf } from "../model/files";
import { filesHash, type Route } from "../model/routes";
import { navigate, replaceHash } from "../navigation";

export type FilesRoute = Extract<Route, { page: "files" }>;

export function FilesPage({ route }: { route: FilesRoute }): ReactNode {
  const { project, bucket, folder, object } = route;
  const exists = useLoaded(`project ${project}`, () => getProject(project));
  const buckets = useLoaded(`buckets ${project}`, () => listBuckets(project));
  const [round, setRound] = useState(0);
  const [isNaming, setNaming] = useState(false);
  const files = useRef<HTMLInputElement>(null);
  const folders = useRef<HTMLInputElement>(null);
  const first = buckets.data?.includes("default") ? "default" : buckets.data?.[0];
  const depth = object !== null ? "document" : bucket !== null ? "collection" : "root";
  useEffect(() => {
    // One pane at a time: there the list of buckets is a page of its own.
    const isNarrow = window.matchMedia("(max-width: 860px)").matches;
    if (bucket === null && first !== undefined && !isNarrow) replaceHash(filesHash(project, first));
  }, [project, bucket, first]);

  function upload(chosen: readonly Dropped[]): void {
    if (bucket === null) return;
    const prefix = prefixOf(folder);
    const sources = chosen.map(({ path, file }) => ({ name: prefix + path, file }));
    const wrong = sources.find(({ name }) => faultOfName(name) !== null);
    if (wrong !== undefined) {
      toastError(`“${wrong.name}” cannot be uploaded`, new Error(faultOfName(wrong.name) ?? ""));
      return;
    }
    addUploads(project, bucket, sources);
  }

  if (exists.error !== undefined)
    return (
      <Failed
        title="This project cannot be shown"
        error={exists.error}
        onRetry={() => {
          exists.reload();
          buckets.reload();
        }}
      />
    );
  return (
    <>
      <header className="bar">
        <h1 className="sr-only">Files</h1>
        <Crumbs route={route} />
        <IconAction label="Refresh" onClick={() => setRound(round + 1)}>
          <IconRefresh size={16} />
        </IconAction>
        {bucket !== null && (
          <>
            <IconAction label="New folder ( n )" onClick={() => setNaming(true)} data-key="n">
              <IconFolderPlus size={17} />
            </IconAction>
            <Button.Group>
              <Button
                leftSection={<IconUpload size={15} />}
                onClick={() => files.current?.click()}
                data-key="u"
              >
                Upload
              </Button>
              <Menu position="bottom-end">
                <Menu.Target>
                  <Button aria-label="More ways to upload" px={6}>
                    <IconChevronDown size={14} />
                  </Button>
                </Menu.Target>
                <Menu.Dropdown>
                  <Menu.Item
                    leftSection={<IconUpload size={15} />}
                    onClick={() => files.current?.click()}
                  >
                    Files…
                  </Menu.Item>
                  <Menu.Item
                    leftSection={<IconFolderUp size={15} />}
                    onClick={() => folders.current?.click()}
                  >
                    A folder…
                  </Menu.Item>
                </Menu.Dropdown>
              </Menu>
            </Button.Group>
          </>
        )}
        <Picker label="Choose files" input={files} onChoose={upload} />
        <Picker label="Choose a folder" input={folders} onChoose={upload} folder />
      </header>
      <div className="panes" data-depth={depth} {...(object !== null ? { "data-open": "" } : {})}>
        <BucketsPane project={project} bucket={bucket} buckets={buckets} />
        {bucket === null ? (
          <section className="pane documents" aria-label="Files">
            <Empty icon={<IconBucket />} title="Choose a bucket">
              Its files and folders appear here.
            </Empty>
          </section>
        ) : (
          <FilesPane
            key={`${bucket} ${folder.join("/")}`}
            route={route}
            bucket={bucket}
            round={round}
            onUpload={upload}
            onPick={() => files.current?.click()}
          />
        )}
        {bucket !== null && object !== null && (
          <FilePane
            key={`${bucket} ${object}`}
            route={route}
            bucket={bucket}
            name={object}
            onChange={() => setRound(round + 1)}
          />
        )}
      </div>
      {isNaming && bucket !== null && (
        <NewFolder
          onMade={(name) => navigate(filesHash(project, bucket, [...folder, ...name.split("/")]))}
          onClose={() => setNaming(false)}
        />
      )}
    </>
  );
}

function Crumbs({ route }: { route: FilesRoute }): ReactNode {
  const { project, bucket, folder } = route;
  const end = useRef<HTMLDivElement>(null);
  const length = folder.join("/").length;
  // Deep paths are read from their end: a new one scrolls there.
  useEffect(() => {
    if (end.current !== null) end.current.scrollLeft = end.current.scrollWidth;
  }, [length]);
  if (bucket === null) return <h1 className="grow">Files</h1>;
  return (
    <nav className="crumbs" aria-label="Folder" ref={end}>
      <ol>
        <li>
          <a href={filesHash(project, null)} aria-label="Buckets">
            <IconHome size={15} style={{ display: "block" }} />
          </a>
        </li>
        <li>
          <a
            href={filesHash(project, bucket)}
            aria-current={folder.length === 0 ? "page" : undefined}
          >
            {bucket}
          </a>
        </li>
        {folder.map((part, index) => (
          <li key={index}>
            <a
              href={filesHash(project, bucket, folder.slice(0, index + 1))}
              title={part}
              aria-current={index === folder.length - 1 ? "page" : undefined}
            >
              {part}
            </a>
          </li>
        ))}
      </ol>
    </nav>
  );
}

/** The browser's own dialog. Hidden, as the buttons open it. */
function Picker({
  label,
  input,
  onChoose,
  folder = false,
}: {
  label: string;
  input: React.RefObject<HTMLInputElement | null>;
  onChoose: (files: readonly Dropped[]) => void;
  folder?: boolean;
}): ReactNode {
  return (
    <input
      ref={input}
      type="file"
      multiple
      hidden
      aria-label={label}
      {...(folder ? { webkitdirectory: "" } : {})}
      onChange={(event) => {
        const chosen = chosenFiles(event.currentTarget.files);
        event.currentTarget.value = ""; // so that the same file can be chosen again
        if (chosen.length > 0) onChoose(chosen);
      }}
    />
  );
}

function NewFolder({
  onMade,
  onClose,
}: {
  onMade: (name: string) => void;
  onClose: () => void;
}): ReactNode {
  const [name, setName] = useState("");
  const fault = name === "" ? null : faultOfName(name);
  return (
    <FormDialog
      title="New folder"
      action="Open folder"
      size="sm"
      disabled={name === "" || fault !== null}
      onSubmit={() => onMade(name)}
      onClose={onClose}
    >
      <TextInput
        label="Folder name"
        description="The folder opens; it stays once a file is in it."
        value={name}
        onChange={(event) => setName(event.currentTarget.value)}
        error={fault}
        autoComplete="off"
        data-autofocus
      />
    </FormDialog>
  );
}
