/** Small controls that several pages share. */

import { ActionIcon, type ActionIconProps, CopyButton, Tooltip } from "@mantine/core";
import { IconCheck, IconCopy } from "@tabler/icons-react";
import type { ButtonHTMLAttributes, ReactNode } from "react";
import { useNow } from "../api/hooks";
import { shortTime } from "../model/inputs";
import { agoText } from "../model/times";

/** An icon that acts, named for everybody: as its tooltip and to screen readers. */
export function IconAction({
  label,
  children,
  ...rest
}: { label: string; children: ReactNode } & ActionIconProps &
  Omit<ButtonHTMLAttributes<HTMLButtonElement>, "color" | "style">): ReactNode {
  return (
    <Tooltip label={label}>
      <ActionIcon aria-label={label} {...rest}>
        {children}
      </ActionIcon>
    </Tooltip>
  );
}

export function Copy({ text, label }: { text: string; label: string }): ReactNode {
  return (
    <CopyButton value={text} timeout={1500}>
      {({ copied, copy }) => (
        <IconAction label={copied ? "Copied" : label} onClick={copy}>
          {copied ? <IconCheck size={15} /> : <IconCopy size={15} />}
        </IconAction>
      )}
    </CopyButton>
  );
}

/** A time as one thinks of it; over it, as it was. */
export function Moment({ time }: { time: string }): ReactNode {
  const now = useNow();
  return (
    <time dateTime={time} title={shortTime(time)}>
      {agoText(time, now)}
    </time>
  );
}

export function Mark(): ReactNode {
  return (
    <svg viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <rect width="32" height="32" rx="8" fill="#0c6b72" />
      <path
        d="M9 10.5h9M9 16h14M9 21.5h9"
        stroke="#fff"
        strokeWidth="3"
        strokeLinecap="round"
        fill="none"
      />
      <circle cx="23" cy="10.5" r="2" fill="#8be9d8" />
    </svg>
  );
}
