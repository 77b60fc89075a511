/** What is asked: collection, filters, order, limit, fields, or numbers. */

import { Button, NativeSelect, Switch, TextInput } from "@mantine/core";
import { IconPlayerPlay, IconPlus, IconX } from "@tabler/icons-react";
import type { FormEvent, ReactNode } from "react";
import { AGGREGATES, type AggregateDraft, type QueryDraft } from "../model/builder";
import type { Order } from "../model/queries";
import { FieldInput, GroupEditor } from "./ClauseEditor";
import { IconAction } from "./controls";

const AGGREGATES_MAX = 5;

export function QueryForm({
  draft,
  names,
  busy,
  error,
  onChange,
  onRun,
  onStop,
}: {
  draft: QueryDraft;
  names: readonly string[];
  busy: boolean;
  error: string | null;
  onChange: (draft: QueryDraft) => void;
  onRun: () => void;
  onStop: () => void;
}): ReactNode {
  const isNumbers = draft.aggregates.length > 0;
  return (
    <form
      className="builder"
      aria-label="Query"
      onSubmit={(event: FormEvent) => {
        event.preventDefault();
        onRun();
      }}
    >
      <div className="builder-parts">
        <section>
          <h2>From</h2>
          <TextInput
            aria-label="Collection"
            placeholder="cities or users/ada/orders"
            value={draft.collection}
            onChange={(event) => onChange({ ...draft, collection: event.currentTarget.value })}
            spellCheck={false}
            autoComplete="off"
            styles={{ input: { fontFamily: "var(--mono)", fontSize: 12 } }}
          />
          <Switch
            size="xs"
            label="Collection group: every collection with this id, at any depth"
            checked={draft.group}
            onChange={(event) => onChange({ ...draft, group: event.currentTarget.checked })}
          />
        </section>
        <section>
          <h2>Where</h2>
          <GroupEditor
            group={draft.where}
            names={["__name__", ...names]}
            onChange={(where) => onChange({ ...draft, where })}
          />
        </section>
        <section>
          <h2>Show</h2>
          <NativeSelect
            aria-label="Show"
            value={isNumbers ? "numbers" : "documents"}
            onChange={(event) =>
              onChange({
                ...draft,
                aggregates:
                  event.currentTarget.value === "numbers" ? [{ op: "count", field: "" }] : [],
              })
            }
            data={[
              { value: "documents", label: "documents" },
              { value: "numbers", label: "numbers: count, sum, average" },
            ]}
          />
          {isNumbers ? (
            <Aggregates
              aggregates={draft.aggregates}
              names={names}
              onChange={(aggregates) => onChange({ ...draft, aggregates })}
            />
          ) : (
            <TextInput
              aria-label="Fields"
              placeholder="all fields, or name, address.city"
              value={draft.select}
              onChange={(event) => onChange({ ...draft, select: event.currentTarget.value })}
              spellCheck={false}
              styles={{ input: { fontFamily: "var(--mono)", fontSize: 12 } }}
            />
          )}
        </section>
        <section>
          <h2>Order and limit</h2>
          <Orders
            orders={draft.orders}
            names={names}
            onChange={(orders) => onChange({ ...draft, orders })}
          />
          <TextInput
            aria-label="Limit"
            placeholder="no limit"
            inputMode="numeric"
            w={112}
            value={draft.limit}
            onChange={(event) => onChange({ ...draft, limit: event.currentTarget.value })}
          />
        </section>
      </div>
      <div className="builder-foot">
        {error !== null && (
          <p className="error-text" role="alert">
            {error}
          </p>
        )}
        <div className="row">
          <Button type="submit" leftSection={<IconPlayerPlay size={15} />} disabled={busy}>
            Run
          </Button>
          {busy && (
            <Button variant="default" onClick={onStop}>
              Stop
            </Button>
          )}
          <span className="grow" />
          <span className="muted small wide-only">
            <kbd>Ctrl</kbd> <kbd>Enter</kbd>
          </span>
        </div>
      </div>
    </form>
  );
}

function Orders({
  orders,
  names,
  onChange,
}: {
  orders: readonly Order[];
  names: readonly string[];
  onChange: (orders: readonly Order[]) => void;
}): ReactNode {
  const set = (at: number, order: Order) =>
    onChange(orders.map((old, index) => (index === at ? order : old)));
  return (
    <>
      {orders.map((order, at) => (
        <fieldset className="clause row" key={at} aria-label={`Order ${at + 1}`}>
          <FieldInput
            label="Field of the order"
            value={order.field}
            names={["__name__", ...names]}
            onChange={(field) => set(at, { ...order, field })}
          />
          <NativeSelect
            aria-label="Direction"
            value={order.direction}
            onChange={(event) =>
              set(at, { ...order, direction: event.currentTarget.value as Order["direction"] })
            }
            data={[
              { value: "asc", label: "↑ asc" },
              { value: "desc", label: "↓ desc" },
            ]}
          />
          <IconAction
            label={`Remove order by ${order.field || "a field"}`}
            onClick={() => onChange(orders.filter((_, index) => index !== at))}
          >
            <IconX size={15} />
          </IconAction>
        </fieldset>
      ))}
      <div className="row adds">
        <Button
          variant="subtle"
          color="gray"
          size="compact-xs"
          leftSection={<IconPlus size={14} />}
          onClick={() => onChange([...orders, { field: "", direction: "asc" }])}
        >
          Order
        </Button>
      </div>
    </>
  );
}

function Aggregates({
  aggregates,
  names,
  onChange,
}: {
  aggregates: readonly AggregateDraft[];
  names: readonly string[];
  onChange: (aggregates: readonly AggregateDraft[]) => void;
}): ReactNode {
  const set = (at: number, item: AggregateDraft) =>
    onChange(aggregates.map((old, index) => (index === at ? item : old)));
  return (
    <>
      {aggregates.map((item, at) => (
        <fieldset className="clause row" key={at} aria-label={`Number ${at + 1}`}>
          <NativeSelect
            aria-label="Number"
            value={item.op}
            onChange={(event) =>
              set(at, { ...item, op: event.currentTarget.value as AggregateDraft["op"] })
            }
            data={[...AGGREGATES]}
          />
          {item.op === "count" ? (
            <span className="grow muted small">of documents</span>
          ) : (
            <FieldInput
              label="Field of the number"
              value={item.field}
              names={names}
              onChange={(field) => set(at, { ...item, field })}
            />
          )}
          {aggregates.length > 1 && (
            <IconAction
              label={`Remove number ${at + 1}`}
              onClick={() => onChange(aggregates.filter((_, index) => index !== at))}
            >
              <IconX size={15} />
            </IconAction>
          )}
        </fieldset>
      ))}
      {aggregates.length < AGGREGATES_MAX && (
        <div className="row adds">
          <Button
            variant="subtle"
            color="gray"
            size="compact-xs"
            leftSection={<IconPlus size={14} />}
            onClick={() => onChange([...aggregates, { op: "sum", field: "" }])}
          >
            Number
          </Button>
        </div>
      )}
    </>
  );
}
