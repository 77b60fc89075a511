/** Rows of inputs that can be added and removed: orders, numbers, the fields of an index. */

import { Button } from "@mantine/core";
import { IconPlus, IconX } from "@tabler/icons-react";
import type { ReactNode } from "react";
import { IconAction } from "./controls";

export function ClauseList<T>({
  name,
  items,
  made,
  onChange,
  children,
  least = 0,
  most = Number.POSITIVE_INFINITY,
}: {
  /** Of one row, such as `order`. */
  name: string;
  items: readonly T[];
  /** What a new row holds. */
  made: T;
  onChange: (items: readonly T[]) => void;
  /** The inputs of a row. */
  children: (item: T, set: (item: T) => void) => ReactNode;
  least?: number;
  most?: number;
}): ReactNode {
  return (
    <>
      {items.map((item, at) => (
        // Rows have no identity but their place.
        <fieldset className="clause row" key={at} aria-label={`${capital(name)} ${at + 1}`}>
          {children(item, (next) =>
            onChange(items.map((old, index) => (index === at ? next : old))),
          )}
          {items.length > least && (
            <IconAction
              label={`Remove ${name} ${at + 1}`}
              onClick={() => onChange(items.filter((_, index) => index !== at))}
            >
              <IconX size={15} />
            </IconAction>
          )}
        </fieldset>
      ))}
      {items.length < most && (
        <div className="row adds">
          <AddButton name={capital(name)} onClick={() => onChange([...items, made])} />
        </div>
      )}
    </>
  );
}

/** Adds one more of something to a form. */
export function AddButton({
  name,
  onClick,
  dataKey,
}: {
  name: string;
  onClick: () => void;
  dataKey?: string;
}): ReactNode {
  return (
    <Button
      variant="subtle"
      color="gray"
      size="compact-xs"
      leftSection={<IconPlus size={14} />}
      onClick={onClick}
      {...(dataKey === undefined ? {} : { "data-key": dataKey })}
    >
      {name}
    </Button>
  );
}

function capital(name: string): string {
  return name.charAt(0).toUpperCase() + name.slice(1);
}
