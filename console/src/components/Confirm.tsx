import type { ReactNode } from "react";
import { FormDialog } from "./FormDialog";

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
export function Confirm({ children, onConfirm, ...rest }: ConfirmProps): ReactNode {
  return (
    <FormDialog size="sm" hasInputs={false} onSubmit={onConfirm} {...rest}>
      <div>{children}</div>
    </FormDialog>
  );
}
