import { IconFile, IconFileText, IconMovie, IconMusic, IconPhoto } from "@tabler/icons-react";
import type { ReactNode } from "react";
import type { Preview } from "../model/files";

const ICONS = { image: IconPhoto, text: IconFileText, audio: IconMusic, video: IconMovie };

export function TypeIcon({ preview }: { preview: Preview }): ReactNode {
  const Icon = preview === null ? IconFile : ICONS[preview];
  return <Icon aria-hidden />;
}
