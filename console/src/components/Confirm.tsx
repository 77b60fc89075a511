import { Button, TextInput } from "@mantine/core";
import { type FormEvent, type ReactNode, useState } from "react";
import { messageOf } from "../api/client";
import { Dialog } from "./Dialog";

export interface ConfirmProps {
  title: string;
  children: ReactNode;
  action: string;
  danger?: boolean;
  /** A text that must be typed first, for what cannot be undone. */
  typed?: string;
  onConfirm: () => Promise<void> | void;
  onClose: () => void;
}

/** Asks before something happens, shows that it is happening, and says why it did not. */
export function Confirm({
  title,
  children,
  action,
  danger = false,
  typed,
  onConfirm,
  onClose,
}: ConfirmProps): ReactNode {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const [text, setText] = useState("");

  async function submit(event: FormEvent): Promise<void> {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      await onConfirm();
      onClose();
    } catch (failure) {
      setError(failure);
      setBusy(false);
    }
  }

  return (
    <Dialog onClose={onClose} title={title} size="sm">
      <form className="stack" onSubmit={submit}>
        <div>{children}</div>
        {typed !== undefined && (
          <TextInput
            label={
              <>
                Type <code>{typed}</code> to confirm
              </>
            }
            value={text}
            onChange={(event) => setText(event.currentTarget.value)}
            autoComplete="off"
            spellCheck={false}
            data-autofocus
          />
        )}
        {error !== null && (
          <p className="error-text" role="alert">
            {messageOf(error)}
          </p>
        )}
        <div className="form-actions">
          <Button variant="default" onClick={onClose} data-autofocus={typed === undefined}>
            Cancel
          </Button>
          <Button
            type="submit"
            color={danger ? "red.8" : "petrol"}
            loading={busy}
            disabled={typed !== undefined && text !== typed}
          >
            {action}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
