/** What the console says back: toasts, and the states of a place that has nothing to show. */

import { Button, Loader } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { IconAlertTriangle, IconCheck } from "@tabler/icons-react";
import { type ReactNode, useEffect, useState } from "react";
import { ApiError, isReason, messageOf } from "../api/client";
import type { Loaded } from "../api/hooks";
import { visible } from "../model/text";

const LATE_MS = 3_000;
const UNDO_MS = 12_000;

export function toast(message: string): void {
  notifications.show({
    message: visible(message),
    color: "transparent",
    icon: <IconCheck size={16} color="var(--good)" />,
    autoClose: 3500,
    withBorder: true,
  });
}

/** For what was done in a moment and can be taken back for some seconds. */
export function toastUndo(message: string, undo: () => Promise<void>): void {
  const id = notifications.show({
    message: (
      <span className="row">
        <span className="grow breaks">{message}</span>
        <Button
          size="compact-sm"
          variant="default"
          onClick={() => {
            notifications.hide(id);
            undo().catch((error: unknown) => toastError("Not undone", error));
          }}
        >
          Undo
        </Button>
      </span>
    ),
    color: "transparent",
    icon: <IconCheck size={16} color="var(--good)" />,
    autoClose: UNDO_MS,
    withBorder: true,
  });
}

/** Failures stay until they are closed: a person may be looking elsewhere. */
export function toastError(title: string, error: unknown): void {
  notifications.show({
    title: visible(title),
    message: visible(messageOf(error)),
    color: "transparent",
    icon: <IconAlertTriangle size={16} color="var(--danger)" />,
    autoClose: false,
    withBorder: true,
    role: "alert",
  });
}

export function Empty({
  icon,
  title,
  children,
  action,
}: {
  icon: ReactNode;
  title: string;
  children?: ReactNode;
  action?: ReactNode;
}): ReactNode {
  return (
    <div className="state">
      <span className="icon" aria-hidden>
        {icon}
      </span>
      <h2>{title}</h2>
      {children !== undefined && <p>{children}</p>}
      {action}
    </div>
  );
}

export function Failed({
  title,
  error,
  onRetry,
}: {
  title: string;
  error: unknown;
  onRetry?: () => void;
}): ReactNode {
  const request = error instanceof ApiError ? error.requestId : null;
  return (
    <div className="state" data-tone="danger" role="alert">
      <span className="icon" aria-hidden>
        <IconAlertTriangle />
      </span>
      <h2>{title}</h2>
      <p>{messageOf(error)}</p>
      {request !== null && <code className="muted">request {request}</code>}
      {isReason(error, "ProjectNotFound") ? (
        <Button variant="default" component="a" href="#/">
          All projects
        </Button>
      ) : (
        onRetry !== undefined && (
          <Button variant="default" onClick={onRetry}>
            Try again
          </Button>
        )
      )}
    </div>
  );
}

/** A wait that takes long says what it waits for. */
export function Loading({ label, late }: { label: string; late?: string }): ReactNode {
  const [isLate, setLate] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLate(true), LATE_MS);
    return () => clearTimeout(timer);
  }, []);
  return (
    <div className="state" role="status">
      <Loader size="sm" color="gray" />
      {isLate ? <p>{late ?? label}</p> : <span className="sr-only">{label}</span>}
    </div>
  );
}

/** What was loaded, once it is there; until then that it loads, or why it does not. */
export function Loadable<T>({
  loaded,
  what,
  children,
}: {
  loaded: Loaded<T>;
  /** Such as `indexes`. */
  what: string;
  children: (data: T) => ReactNode;
}): ReactNode {
  if (loaded.data !== undefined) return children(loaded.data);
  if (loaded.loading) return <Loading label={`Loading ${what}`} />;
  return (
    <Failed
      title={`${what.charAt(0).toUpperCase()}${what.slice(1)} could not be loaded`}
      error={loaded.error}
      onRetry={loaded.reload}
    />
  );
}
