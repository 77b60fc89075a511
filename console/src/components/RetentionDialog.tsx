/** Says how far back history reaches, for a database or for those of a project. */

import { TextInput } from "@mantine/core";
import { type ReactNode, useState } from "react";
import { type Reach, type Rule, type Said, setRetention } from "../api/retention";
import { quantityOf, quantityText, SIZES, SPANS } from "../model/quantities";
import { toast } from "./feedback";
import { FormDialog } from "./FormDialog";

export function RetentionDialog({
  project,
  database,
  said,
  onDone,
  onClose,
}: {
  project: string;
  /** null: those of the project that say nothing themselves. */
  database: string | null;
  said: Said;
  onDone: () => void;
  onClose: () => void;
}): ReactNode {
  const { rule, inherited, inForce } = said;
  const [span, setSpan] = useState(rule.seconds === null ? "" : quantityText(SPANS, rule.seconds));
  const [size, setSize] = useState(rule.bytes === null ? "" : quantityText(SIZES, rule.bytes));
  const wanted: Rule = { seconds: quantityOf(SPANS, span), bytes: quantityOf(SIZES, size) };
  const isSpan = span.trim() === "" || wanted.seconds !== null;
  const isSize = size.trim() === "" || wanted.bytes !== null;
  const isLess = isSpan && isSize && forgets(wanted, inherited, inForce);

  return (
    <FormDialog
      title={database === null ? "How far back, unless a database says it" : "How far back"}
      action={isLess ? "Keep less" : "Save"}
      danger={isLess}
      disabled={!isSpan || !isSize}
      onClose={onClose}
      onSubmit={async () => {
        await setRetention(project, database, wanted);
        toast("Saved: it takes effect within a minute");
        onDone();
      }}
    >
      <TextInput
        label="Keep old versions for"
        description="Such as 12 hours or 30 days; from 5 minutes to ten years. Empty: as inherited."
        placeholder={quantityText(SPANS, inherited.seconds)}
        value={span}
        onChange={(event) => setSpan(event.currentTarget.value)}
        error={isSpan ? null : "A number and seconds, minutes, hours or days"}
        autoComplete="off"
        data-autofocus
      />
      <TextInput
        label="But no more than"
        description="Such as 500 MiB or 4 GiB, from 1 MiB. Empty: as inherited."
        placeholder={quantityText(SIZES, inherited.bytes)}
        value={size}
        onChange={(event) => setSize(event.currentTarget.value)}
        error={isSize ? null : "A number and KiB, MiB, GiB or TiB"}
        autoComplete="off"
      />
      {isLess && (
        <p className="error-text" role="status">
          That is less than now. What it does not reach is forgotten within a minute, and does not
          come back when more is kept again.
        </p>
      )}
    </FormDialog>
  );
}

function forgets(wanted: Rule, inherited: Reach, inForce: Reach): boolean {
  return (
    (wanted.seconds ?? inherited.seconds) < inForce.seconds ||
    (wanted.bytes ?? inherited.bytes) < inForce.bytes
  );
}
