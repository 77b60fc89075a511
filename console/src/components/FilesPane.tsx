/** The files and folders of one folder: chosen, dropped upon, opened, deleted. */

import { Button, Checkbox } from "@mantine/core";
import { IconFolder, IconFolderOpen, IconTrash, IconUpload } from "@tabler/icons-react";
import {
  type DragEvent,
  type KeyboardEvent,
  type ReactNode,
  useEffect,
  useRef,
  useState,
} from "react";
import { droppedFiles } from "../api/dropped";
import { deleteFile, deleteFolder, type FilePage, listFiles } from "../api/files";
import { useLoaded } from "../api/hooks";
import { useFinishedUploads } from "../api/uploads";
import { baseName, formatSize, prefixOf, previewOf } from "../model/files";
import { shortTime } from "../model/inputs";
import { filesHash } from "../model/routes";
import { navigate } from "../navigation";
import type { FilesRoute } from "../pages/FilesPage";
import { Confirm } from "./Confirm";
import { Empty, Failed, Loading, toast, toastError } from "./feedback";
import { TypeIcon } from "./TypeIcon";

const RELOAD_MS = 400;

export function FilesPane({
  route,
  bucket,
  round,
  onUpload,
  onPick,
}: {
  route: FilesRoute;
  bucket: string;
  /** Grows when the list is to be asked for again. */
  round: number;
  onUpload: (files: Awaited<ReturnType<typeof droppedFiles>>) => void;
  onPick: () => void;
}): ReactNode {
  const { project, folder } = route;
  const prefix = prefixOf(folder);
  const loaded = useLoaded(`files ${project} ${bucket} ${prefix}`, () =>
    listFiles(project, bucket, prefix, { delimiter: "/" }),
  );
  const [busy, setBusy] = useState(false);
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [isDeleting, setDeleting] = useState(false);
  const { data: page, reload, setData } = loaded;
  useReload(reload, round);
  const drop = useDrop(onUpload);

  async function more(shown: FilePage): Promise<void> {
    setBusy(true);
    try {
      const next = await listFiles(project, bucket, prefix, {
        delimiter: "/",
        pageToken: shown.nextPageToken,
      });
      setData({
        files: [...shown.files, ...next.files],
        prefixes: [...new Set([...shown.prefixes, ...next.prefixes])],
        nextPageToken: next.nextPageToken,
      });
    } catch (error) {
      toastError("More files could not be loaded", error);
    }
    setBusy(false);
  }

  const isEmpty = page !== undefined && page.files.length === 0 && page.prefixes.length === 0;
  const present = [...(page?.prefixes ?? []), ...(page?.files.map((file) => file.name) ?? [])];
  const selected = present.filter((name) => chosen.has(name));
  return (
    <section className="pane documents drop" aria-label="Files" {...drop.handlers}>
      <div className="pane-body">
        {page === undefined && loaded.loading && <Loading label="Loading files" />}
        {page === undefined && !loaded.loading && (
          <Failed title="The files could not be loaded" error={loaded.error} onRetry={reload} />
        )}
        {isEmpty && (
          <Empty
            icon={<IconFolderOpen />}
            title={folder.length === 0 ? "No files yet" : "Nothing in this folder"}
            action={
              <Button leftSection={<IconUpload size={15} />} onClick={onPick}>
                Upload files
              </Button>
            }
          >
            Drop files or folders here. A folder is there as long as there is something in it.
          </Empty>
        )}
        {page !== undefined && !isEmpty && (
          <FilesTable
            route={route}
            bucket={bucket}
            page={page}
            chosen={chosen}
            onChoose={setChosen}
          />
        )}
        {page !== undefined && page.nextPageToken !== null && (
          <div className="row" style={{ padding: 12, justifyContent: "center" }}>
            <Button variant="default" loading={busy} onClick={() => more(page)}>
              Load more
            </Button>
          </div>
        )}
      </div>
      {page !== undefined && !isEmpty && (
        <div className="pane-foot">
          {selected.length > 0 ? (
            <>
              <span className="grow" role="status">
                {selected.length} selected
              </span>
              <Button variant="subtle" color="gray" onClick={() => setChosen(new Set())}>
                Clear
              </Button>
              <Button
                variant="light"
                color="red"
                c="var(--danger)"
                leftSection={<IconTrash size={14} />}
                onClick={() => setDeleting(true)}
              >
                Delete
              </Button>
            </>
          ) : (
            <span className="grow" role="status">
              {present.length.toLocaleString("en")}
              {page.nextPageToken === null ? "" : "+"} {present.length === 1 ? "item" : "items"}
            </span>
          )}
        </div>
      )}
      {drop.isOver && (
        <div className="drop-over" aria-hidden>
          <IconUpload size={22} />
          <strong>Drop to upload into {folder.at(-1) ?? bucket}</strong>
        </div>
      )}
      {isDeleting && (
        <DeleteSelected
          project={project}
          bucket={bucket}
          names={selected}
          onClose={() => setDeleting(false)}
          onDone={() => {
            setChosen(new Set());
            if (route.object !== null && selected.includes(route.object))
              navigate(filesHash(project, bucket, folder));
            reload();
          }}
        />
      )}
    </section>
  );
}

/** Looks again when asked to, and soon after uploads have ended. */
function useReload(reload: () => void, round: number): void {
  const finished = useFinishedUploads();
  const seen = useRef({ finished, round });
  useEffect(() => {
    if (seen.current.round === round && seen.current.finished === finished) return undefined;
    const delay = seen.current.round === round ? RELOAD_MS : 0;
    const timer = setTimeout(() => {
      seen.current = { finished, round };
      reload();
    }, delay);
    return () => clearTimeout(timer);
  }, [finished, round, reload]);
}

function useDrop(onUpload: (files: Awaited<ReturnType<typeof droppedFiles>>) => void): {
  isOver: boolean;
  handlers: Record<string, (event: DragEvent) => void>;
} {
  const [depth, setDepth] = useState(0);
  const holdsFiles = (event: DragEvent) => event.dataTransfer.types.includes("Files");
  return {
    isOver: depth > 0,
    handlers: {
      onDragEnter: (event) => {
        if (holdsFiles(event)) setDepth((old) => old + 1);
      },
      onDragOver: (event) => {
        if (holdsFiles(event)) event.preventDefault();
      },
      onDragLeave: (event) => {
        if (holdsFiles(event)) setDepth((old) => Math.max(0, old - 1));
      },
      onDrop: (event) => {
        if (!holdsFiles(event)) return;
        event.preventDefault();
        setDepth(0);
        droppedFiles(event.dataTransfer).then(onUpload, (error: unknown) =>
          toastError("The files could not be read", error),
        );
      },
    },
  };
}

function FilesTable({
  route,
  bucket,
  page,
  chosen,
  onChoose,
}: {
  route: FilesRoute;
  bucket: string;
  page: FilePage;
  chosen: ReadonlySet<string>;
  onChoose: (names: ReadonlySet<string>) => void;
}): ReactNode {
  const { project, folder, object } = route;
  const body = useRef<HTMLTableSectionElement>(null);
  const names = [...page.prefixes, ...page.files.map((file) => file.name)];
  const count = names.filter((name) => chosen.has(name)).length;

  function move(event: KeyboardEvent): void {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step === undefined || body.current === null) return;
    const links = [...body.current.querySelectorAll<HTMLAnchorElement>("td a")];
    const row = (document.activeElement as HTMLElement).closest("tr")?.querySelector("td a");
    const next =
      links[
        Math.min(Math.max(links.indexOf(row as HTMLAnchorElement) + step, 0), links.length - 1)
      ];
    if (next === undefined) return;
    event.preventDefault();
    next.focus();
  }

  function toggle(name: string): void {
    const next = new Set(chosen);
    if (!next.delete(name)) next.add(name);
    onChoose(next);
  }

  return (
    <table className="grid files-grid">
      <caption className="sr-only">Files; arrow keys move, Enter opens</caption>
      <thead>
        <tr>
          <th scope="col" className="choose">
            <Checkbox
              size="xs"
              aria-label="Select all"
              checked={count > 0 && count === names.length}
              indeterminate={count > 0 && count < names.length}
              onChange={() => onChoose(new Set(count === names.length ? [] : names))}
            />
          </th>
          <th scope="col">
            <span>Name</span>
          </th>
          <th scope="col">
            <span>Size</span>
          </th>
          <th scope="col" className="wide-only type">
            <span>Type</span>
          </th>
          <th scope="col" className="wide-only updated">
            <span>Updated</span>
          </th>
        </tr>
      </thead>
      <tbody ref={body} onKeyDown={move}>
        {page.prefixes.map((prefix) => {
          const href = filesHash(project, bucket, prefix.slice(0, -1).split("/"));
          return (
            <Row key={prefix} href={href}>
              <td className="choose">
                <Checkbox
                  size="xs"
                  aria-label={`Select folder ${baseName(prefix)}`}
                  checked={chosen.has(prefix)}
                  onChange={() => toggle(prefix)}
                />
              </td>
              <td>
                <a href={href} title={prefix}>
                  <IconFolder aria-hidden /> <span className="truncate">{baseName(prefix)}/</span>
                </a>
              </td>
              <td />
              <td className="wide-only type" />
              <td className="wide-only updated" />
            </Row>
          );
        })}
        {page.files.map((file) => {
          const href = filesHash(project, bucket, folder, file.name);
          const isSelected = file.name === object;
          return (
            <Row key={file.name} href={href} isSelected={isSelected}>
              <td className="choose">
                <Checkbox
                  size="xs"
                  aria-label={`Select ${baseName(file.name)}`}
                  checked={chosen.has(file.name)}
                  onChange={() => toggle(file.name)}
                />
              </td>
              <td>
                <a href={href} title={file.name} aria-current={isSelected ? "true" : undefined}>
                  <TypeIcon preview={previewOf(file.contentType, file.sniffedType)} />
                  <span className="truncate">{baseName(file.name)}</span>
                </a>
              </td>
              <td className="muted number">{formatSize(file.size)}</td>
              <td className="muted wide-only type">{file.contentType}</td>
              <td className="muted wide-only updated">{shortTime(file.updated)}</td>
            </Row>
          );
        })}
      </tbody>
    </table>
  );
}

function Row({
  href,
  isSelected = false,
  children,
}: {
  href: string;
  isSelected?: boolean;
  children: ReactNode;
}): ReactNode {
  return (
    // The link is the row's control; a click anywhere is a convenience.
    <tr
      data-selected={isSelected || undefined}
      onClick={(event) => {
        if (event.target instanceof Element && event.target.closest("a, .choose") === null)
          navigate(href);
      }}
    >
      {children}
    </tr>
  );
}

function DeleteSelected({
  project,
  bucket,
  names,
  onClose,
  onDone,
}: {
  project: string;
  bucket: string;
  names: readonly string[];
  onClose: () => void;
  onDone: () => void;
}): ReactNode {
  const [count, setCount] = useState(0);
  const folders = names.filter((name) => name.endsWith("/"));
  const what = names.length === 1 ? baseName(names[0] as string) : `${names.length} items`;
  return (
    <Confirm
      title={`Delete ${what}?`}
      action="Delete"
      danger
      onClose={onClose}
      onConfirm={async () => {
        let done = 0;
        const tick = () => setCount(++done);
        try {
          for (const name of names) {
            if (name.endsWith("/")) await deleteFolder(project, bucket, name, tick);
            else {
              await deleteFile(project, bucket, name);
              tick();
            }
          }
          toast(
            done === 1 ? `${what} is deleted` : `${done.toLocaleString("en")} files are deleted`,
          );
        } finally {
          onDone();
        }
      }}
    >
      <p>
        {folders.length > 0
          ? "Folders are deleted with all that is below them. This cannot be undone."
          : "This cannot be undone."}
        {count > 1 && ` ${count.toLocaleString("en")} deleted so far.`}
      </p>
    </Confirm>
  );
}
