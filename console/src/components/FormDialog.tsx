/** A dialog with one form: it says that work is going on, and why it did not come to an end. */

import { Button, type ModalProps, TextInput } from "@mantine/core";
import { type FormEvent, type ReactNode, useState } from "react";
import { messageOf } from "../api/client";
import { visible } from "../model/text";
import { Dialog } from "./Dialog";

export interface FormDialogProps {
  title: string;
  /** What the button that submits says. */
  action: string;
  children: ReactNode;
  /** The dialog closes when this is done; what it throws is shown. `false`: it stays open. */
  onSubmit: () => Promise<boolean | void> | boolean | void;
  onClose: () => void;
  size?: ModalProps["size"];
  disabled?: boolean;
  danger?: boolean;
  /** A text that must be typed first, for what is done to many or cannot be undone. */
  typed?: string | undefined;
  /** The contents hold forms of their own: this one is the buttons only. */
  isApart?: boolean;
  /** Where the focus begins: at the action's own inputs, else at Cancel. */
  hasInputs?: boolean;
}

export function FormDialog({
  title,
  action,
  children,
  onSubmit,
  onClose,
  size = "md",
  disabled = false,
  danger = false,
  typed,
  isApart = false,
  hasInputs = true,
}: FormDialogProps): ReactNode {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const [text, setText] = useState("");

  // What cannot be typed is typed as it is shown.
  const isTyped = typed === undefined || text === typed || text === visible(typed);

  async function submit(event: FormEvent): Promise<void> {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      if ((await onSubmit()) !== false) return onClose();
    } catch (failure) {
      setError(failure);
    }
    setBusy(false);
  }

  const contents = (
    <>
      {children}
      {typed !== undefined && (
        <TextInput
          label={
            <>
              Type <code className="breaks">{typed}</code> to confirm
            </>
          }
          value={text}
          onChange={(event) => setText(event.currentTarget.value)}
          autoComplete="off"
          spellCheck={false}
          data-autofocus={!hasInputs || undefined}
        />
      )}
      {error !== null && <FormFailure error={error} />}
    </>
  );
  const buttons = (
    <>
      <Button
        variant="default"
        onClick={onClose}
        data-autofocus={(!hasInputs && typed === undefined) || undefined}
      >
        Cancel
      </Button>
      <Button
        type="submit"
        color={danger ? "red.8" : "petrol"}
        loading={busy}
        disabled={disabled || !isTyped}
      >
        {action}
      </Button>
    </>
  );
  return (
    <Dialog onClose={onClose} title={title} size={size}>
      {isApart ? (
        <div className="stack">
          {contents}
          <form className="form-actions" onSubmit={submit} noValidate>
            {buttons}
          </form>
        </div>
      ) : (
        <form className="stack" onSubmit={submit} noValidate>
          {contents}
          <div className="form-actions">{buttons}</div>
        </form>
      )}
    </Dialog>
  );
}

export function FormFailure({ error }: { error: unknown }): ReactNode {
  return (
    <p className="error-text breaks" role="alert">
      {messageOf(error)}
    </p>
  );
}
