import { Modal, type ModalProps } from "@mantine/core";
import { type ReactNode, useEffect, useState } from "react";

/** A dialog that is open while it is mounted, and then gives the focus back to where it was. */
export function Dialog(props: Omit<ModalProps, "opened">): ReactNode {
  const [opener] = useState(() => document.activeElement);
  useEffect(
    () => () => {
      // After the dialog's focus trap has let go. A menu's item is gone by then; its page is not.
      setTimeout(() => {
        const target = opener?.isConnected ? opener : document.getElementById("main");
        if (document.activeElement === document.body && target instanceof HTMLElement)
          target.focus();
      });
    },
    [opener],
  );
  return <Modal opened returnFocus={false} {...props} />;
}
