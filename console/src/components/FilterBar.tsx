/** Filters and orders of a collection, as chips that can be edited. */

import { Autocomplete, Button, NativeSelect, Popover } from "@mantine/core";
import { IconArrowsSort, IconFilter, IconPlus, IconX } from "@tabler/icons-react";
import { type FormEvent, type ReactNode, useState } from "react";
import { previewOfValue, textOfValue, valueOfText } from "../model/inputs";
import {
  type Filter,
  OPERATORS,
  type Operator,
  operandReader,
  type Order,
  scalarKind,
  takesList,
  type View,
} from "../model/queries";
import { KINDS } from "../model/values";
import { KindSelect, ValueInput, type ValueText } from "./ValueInput";

export function FilterBar({
  view,
  names,
  onChange,
}: {
  view: View;
  /** Names of fields to propose. */
  names: readonly string[];
  onChange: (view: View) => void;
}): ReactNode {
  const [open, setOpen] = useState<number | "new" | "order" | null>(null);
  const close = () => setOpen(null);

  function setFilter(index: number, filter: Filter | null): void {
    const where = [...view.where];
    if (filter === null) where.splice(index, 1);
    else where[index] = filter;
    onChange({ ...view, where });
    close();
  }

  return (
    <fieldset className="filters" aria-label="Filters">
      {view.where.map((filter, index) => (
        <Drop key={index} opened={open === index} onClose={close}>
          <span className="chip">
            <button
              type="button"
              className="bare"
              aria-expanded={open === index}
              onClick={() => setOpen(open === index ? null : index)}
            >
              <code className="truncate">{filter.field}</code>
              <span className="op">{filter.op}</span>
              <span className={`v truncate v-${filter.value.kind}`}>
                {previewOfValue(filter.value)}
              </span>
            </button>
            <button
              type="button"
              className="bare"
              aria-label={`Remove filter on ${filter.field}`}
              onClick={() => setFilter(index, null)}
            >
              <IconX size={13} />
            </button>
          </span>
          <FilterForm names={names} filter={filter} onSubmit={(made) => setFilter(index, made)} />
        </Drop>
      ))}
      {view.orderBy.map((order, index) => (
        <span className="chip" key={`${order.field} ${order.direction}`}>
          <button
            type="button"
            className="bare"
            aria-label={`Order by ${order.field}, ${order.direction}; turn round`}
            onClick={() => {
              const direction = order.direction === "asc" ? "desc" : "asc";
              onChange({
                ...view,
                orderBy: view.orderBy.map((item, at) =>
                  at === index ? { ...item, direction } : item,
                ),
              });
            }}
          >
            <code className="truncate">{order.field}</code>
            <span className="op">{order.direction === "asc" ? "↑ asc" : "↓ desc"}</span>
          </button>
          <button
            type="button"
            className="bare"
            aria-label={`Remove order by ${order.field}`}
            onClick={() =>
              onChange({ ...view, orderBy: view.orderBy.filter((_, at) => at !== index) })
            }
          >
            <IconX size={13} />
          </button>
        </span>
      ))}
      <Drop opened={open === "new"} onClose={close}>
        <Button
          variant="subtle"
          color="gray"
          size="compact-xs"
          leftSection={view.where.length === 0 ? <IconFilter size={14} /> : <IconPlus size={14} />}
          onClick={() => setOpen(open === "new" ? null : "new")}
          aria-expanded={open === "new"}
          data-key="f"
        >
          Filter
        </Button>
        <FilterForm
          names={names}
          filter={null}
          onSubmit={(filter) => setFilter(view.where.length, filter)}
        />
      </Drop>
      <Drop opened={open === "order"} onClose={close}>
        <Button
          variant="subtle"
          color="gray"
          size="compact-xs"
          leftSection={<IconArrowsSort size={14} />}
          onClick={() => setOpen(open === "order" ? null : "order")}
          aria-expanded={open === "order"}
        >
          Order
        </Button>
        <OrderForm
          names={names}
          onSubmit={(order) => {
            const others = view.orderBy.filter((item) => item.field !== order.field);
            onChange({ ...view, orderBy: [...others, order] });
            close();
          }}
        />
      </Drop>
      {(view.where.length > 0 || view.orderBy.length > 0) && (
        <Button
          variant="subtle"
          color="gray"
          size="compact-xs"
          onClick={() => onChange({ ...view, where: [], orderBy: [] })}
        >
          Clear
        </Button>
      )}
    </fieldset>
  );
}

/** A target and what drops down from it; Escape closes it and gives the focus back. */
function Drop({
  opened,
  onClose,
  children: [target, content],
}: {
  opened: boolean;
  onClose: () => void;
  children: [ReactNode, ReactNode];
}): ReactNode {
  return (
    <Popover
      opened={opened}
      onChange={(next) => !next && onClose()}
      position="bottom-start"
      trapFocus
      returnFocus
      withinPortal
      withRoles={false}
      transitionProps={{ duration: 80 }}
    >
      <Popover.Target>
        <span style={{ display: "inline-flex", minWidth: 0, maxWidth: "100%" }}>{target}</span>
      </Popover.Target>
      <Popover.Dropdown p={10}>{opened && content}</Popover.Dropdown>
    </Popover>
  );
}

function FilterForm({
  names,
  filter,
  onSubmit,
}: {
  names: readonly string[];
  filter: Filter | null;
  onSubmit: (filter: Filter) => void;
}): ReactNode {
  const [field, setField] = useState(filter?.field ?? "");
  const [op, setOp] = useState<Operator>(filter?.op ?? "==");
  const [value, setValue] = useState<ValueText>(
    filter === null
      ? { kind: "string", text: "" }
      : { kind: filter.value.kind, text: textOfValue(filter.value, "line") },
  );
  const [chosen, setChosen] = useState(filter !== null);
  const [error, setError] = useState<string | null>(null);

  function submit(event: FormEvent): void {
    event.preventDefault();
    try {
      if (field.trim() === "") throw new Error("name a field, such as population or address.city");
      onSubmit({
        field: field.trim(),
        op,
        value: valueOfText(value.kind, value.text, operandReader(op)),
      });
    } catch (failure) {
      setError(failure instanceof Error ? failure.message : String(failure));
    }
  }

  function chooseOp(next: Operator): void {
    setOp(next);
    if (takesList(next) && value.kind !== "array") setValue({ kind: "array", text: "[]" });
    else if (!takesList(next) && value.kind === "array") setValue({ kind: "string", text: "" });
  }

  return (
    <form className="stack" style={{ gap: 8, width: 300 }} onSubmit={submit} aria-label="Filter">
      <Autocomplete
        size="xs"
        aria-label="Field"
        placeholder="field"
        data={[...names]}
        value={field}
        onChange={setField}
        data-autofocus
        openOnFocus={false}
        limit={8}
        comboboxProps={{ withinPortal: false }}
        styles={{ input: { fontFamily: "var(--mono)", fontSize: 12 } }}
        spellCheck={false}
      />
      <div className="row" style={{ gap: 6 }}>
        <NativeSelect
          aria-label="Operator"
          className="grow"
          value={op}
          onChange={(event) => chooseOp(event.currentTarget.value as Operator)}
          data={[...OPERATORS]}
        />
        <KindSelect
          value={value}
          kinds={takesList(op) ? ["array"] : KINDS}
          onChange={(next) => {
            setChosen(true);
            setValue(next);
          }}
        />
      </div>
      <div className="row" style={{ gap: 6 }}>
        <ValueInput
          value={value}
          oneLine
          onChange={(next) =>
            // Until a type is chosen, the text says which is meant.
            setValue(chosen || takesList(op) ? next : { ...next, kind: scalarKind(next.text) })
          }
        />
      </div>
      {error !== null && (
        <p className="error-text" role="alert">
          {error}
        </p>
      )}
      <Button type="submit">{filter === null ? "Add filter" : "Change filter"}</Button>
    </form>
  );
}

function OrderForm({
  names,
  onSubmit,
}: {
  names: readonly string[];
  onSubmit: (order: Order) => void;
}): ReactNode {
  const [field, setField] = useState("");
  const [direction, setDirection] = useState<Order["direction"]>("asc");
  return (
    <form
      className="stack"
      style={{ gap: 8, width: 260 }}
      aria-label="Order"
      onSubmit={(event) => {
        event.preventDefault();
        if (field.trim() !== "") onSubmit({ field: field.trim(), direction });
      }}
    >
      <Autocomplete
        size="xs"
        aria-label="Field"
        placeholder="field"
        data={[...names]}
        value={field}
        onChange={setField}
        data-autofocus
        openOnFocus={false}
        limit={8}
        comboboxProps={{ withinPortal: false }}
        styles={{ input: { fontFamily: "var(--mono)", fontSize: 12 } }}
        spellCheck={false}
      />
      <NativeSelect
        aria-label="Direction"
        value={direction}
        onChange={(event) => setDirection(event.currentTarget.value as Order["direction"])}
        data={[
          { value: "asc", label: "ascending" },
          { value: "desc", label: "descending" },
        ]}
      />
      <Button type="submit" disabled={field.trim() === ""}>
        Add order
      </Button>
    </form>
  );
}
