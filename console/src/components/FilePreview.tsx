/** What a file looks like. Nothing of it is ever run: text is text, pictures come from the server's
 *  own rendering, sound and film go through the browser's players. */

import { Button } from "@mantine/core";
import { type ReactNode, useEffect, useState } from "react";
import { fetchText, fetchThumbnail, type StoredFile, signFile } from "../api/files";
import { baseName, formatSize, previewOf } from "../model/files";
import { TypeIcon } from "./TypeIcon";

const TEXT_BYTES = 64 * 1024;
const PICTURE_PIXELS = 1024;
const PLAY_SECONDS = 6 * 3600;

type State = { text: string } | { url: string } | "loading" | "none";

export function FilePreview({ project, file }: { project: string; file: StoredFile }): ReactNode {
  const kind = previewOf(file.contentType, file.sniffedType);
  const [state, setState] = useState<State>(kind === null ? "none" : "loading");
  const [wanted, setWanted] = useState(false);
  const isMedia = kind === "audio" || kind === "video";
  useEffect(() => {
    const control = new AbortController();
    let url: string | null = null;
    const failed = () => control.signal.aborted || setState("none");
    if (kind === "text")
      fetchText(project, file, TEXT_BYTES, control.signal).then(
        (text) => setState({ text }),
        failed,
      );
    else if (kind === "image")
      fetchThumbnail(project, file, PICTURE_PIXELS, control.signal).then((blob) => {
        url = URL.createObjectURL(blob);
        setState({ url });
      }, failed);
    else if (isMedia && wanted)
      signFile(project, file.bucket, file.name, PLAY_SECONDS).then(
        (signed) => control.signal.aborted || setState({ url: signed }),
        failed,
      );
    return () => {
      control.abort();
      if (url !== null) URL.revokeObjectURL(url);
    };
    // oxlint-disable-next-line react/exhaustive-deps -- the key of this component is the file.
  }, [wanted]);

  const title = baseName(file.name);
  if (state === "none")
    return (
      <div className="preview blank">
        <TypeIcon preview={kind} />
        <span>No preview of {file.contentType ?? "this file"}</span>
      </div>
    );
  if (state === "loading")
    return isMedia && !wanted ? (
      <div className="preview blank">
        <TypeIcon preview={kind} />
        <Button variant="default" onClick={() => setWanted(true)}>
          Play
        </Button>
      </div>
    ) : (
      <div className="preview blank" role="status" aria-label="Loading the preview" />
    );
  if ("text" in state)
    return (
      <figure className="preview text">
        <pre tabIndex={0} aria-label={`Beginning of ${title}`}>
          {state.text}
        </pre>
        {file.size > TEXT_BYTES && (
          <figcaption>The first {formatSize(TEXT_BYTES)} are shown</figcaption>
        )}
      </figure>
    );
  return (
    <figure className="preview" data-kind={kind}>
      {kind === "image" && (
        <img src={state.url} alt={title} onError={() => setState("none")} draggable={false} />
      )}
      {kind === "audio" && (
        <audio src={state.url} controls autoPlay onError={() => setState("none")}>
          <track kind="captions" />
        </audio>
      )}
      {kind === "video" && (
        <video src={state.url} controls autoPlay onError={() => setState("none")}>
          <track kind="captions" />
        </video>
      )}
    </figure>
  );
}
