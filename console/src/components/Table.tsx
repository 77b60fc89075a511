/** A table of things that can be acted on. */

import type { ReactNode } from "react";

export interface Column<T> {
  name: string;
  cell: (item: T) => ReactNode;
  /** What the pointer is told over the cell. */
  title?: (item: T) => string | undefined;
  /** Only where there is room. */
  isWide?: boolean;
  /** The heading is for screen readers only: of buttons. */
  isBare?: boolean;
  /** The name stands before the value where the table is narrow. */
  isNamed?: boolean;
  className?: string;
}

export function Table<T>({
  label,
  columns,
  items,
  keyOf,
  className = "",
  isSelected,
  onChoose,
}: {
  label: string;
  columns: readonly Column<T>[];
  items: readonly T[];
  keyOf: (item: T) => string;
  className?: string;
  isSelected?: (item: T) => boolean;
  /** A click anywhere in a row, beside what the first cell offers to the keyboard. */
  onChoose?: (item: T) => void;
}): ReactNode {
  const classOf = ({ className: own, isWide }: Column<T>) =>
    [own, isWide === true ? "wide-only" : ""].filter(Boolean).join(" ") || undefined;
  return (
    <table className={`grid ${onChoose === undefined ? "still" : ""} ${className}`}>
      <caption className="sr-only">{label}</caption>
      <thead>
        <tr>
          {columns.map((column) => (
            <th key={column.name} scope="col" className={classOf(column)}>
              <span>
                {column.isBare === true ? (
                  <span className="sr-only">{column.name}</span>
                ) : (
                  column.name
                )}
              </span>
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {items.map((item) => (
          <tr
            key={keyOf(item)}
            data-selected={isSelected?.(item) || undefined}
            onClick={onChoose === undefined ? undefined : () => onChoose(item)}
          >
            {columns.map((column) => (
              <td
                key={column.name}
                className={classOf(column)}
                title={column.title?.(item)}
                data-name={column.isNamed === true ? column.name.toLowerCase() : undefined}
              >
                {column.cell(item)}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}
