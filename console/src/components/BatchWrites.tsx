/** Further writes of the same commit: rules see of each what all of them leave behind. */

import { Button, NativeSelect, TextInput } from "@mantine/core";
import { IconPlus, IconX } from "@tabler/icons-react";
import type { ReactNode } from "react";
import {
  EMPTY_WRITE,
  type FormFault,
  WRITE_METHODS,
  WRITES_MAX,
  type WriteForm,
} from "../model/trials";
import { IconAction } from "./controls";
import { DataParts, MONO, type TrialPart } from "./TrialData";

export function BatchWrites({
  fault,
  ...part
}: TrialPart & { fault: FormFault | null }): ReactNode {
  const { form, set } = part;
  const { others } = form;
  return (
    <>
      {others.map((other, at) => (
        <OtherWrite
          // Rows have no identity but their place.
          key={at}
          {...part}
          at={at}
          form={{ ...form, ...other }}
          set={(change) => {
            const next = { ...other, ...(change as Partial<WriteForm>) };
            set({ others: others.map((old, index) => (index === at ? next : old)) });
          }}
          faultOf={(input) => (fault?.other === at && fault.input === input ? fault.message : null)}
          onRemove={() => set({ others: others.filter((_, index) => index !== at) })}
        />
      ))}
      {others.length + 1 < WRITES_MAX && (
        <div>
          <Button
            variant="subtle"
            color="gray"
            size="compact-sm"
            leftSection={<IconPlus size={14} />}
            onClick={() => set({ others: [...others, EMPTY_WRITE] })}
          >
            Write of the same commit
          </Button>
        </div>
      )}
    </>
  );
}

function OtherWrite({
  at,
  onRemove,
  ...part
}: TrialPart & { at: number; onRemove: () => void }): ReactNode {
  const { form, set, faultOf } = part;
  const name = `Write ${at + 2}`;
  return (
    <fieldset className="part write-part">
      <legend>{name}</legend>
      <div className="row">
        <NativeSelect
          aria-label={`Method of write ${at + 2}`}
          data={[...WRITE_METHODS]}
          value={form.method}
          onChange={(event) =>
            set({ method: event.currentTarget.value as (typeof WRITE_METHODS)[number] })
          }
        />
        <span className="grow" />
        <IconAction label={`Remove write ${at + 2}`} onClick={onRemove}>
          <IconX size={15} />
        </IconAction>
      </div>
      <TextInput
        aria-label={`Document of write ${at + 2}`}
        placeholder="counters/notes"
        value={form.path}
        error={faultOf("path")}
        onChange={(event) => set({ path: event.currentTarget.value })}
        autoComplete="off"
        spellCheck={false}
        styles={MONO}
      />
      <DataParts {...part} />
    </fieldset>
  );
}
