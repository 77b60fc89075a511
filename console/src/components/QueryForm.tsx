/** What is asked: collection, filters, words, a place, order, limit, fields, or numbers. */

import { Button, NativeSelect, Switch, TextInput } from "@mantine/core";
import { IconPlayerPlay } from "@tabler/icons-react";
import type { FormEvent, ReactNode } from "react";
import type { NearDraft, QueryDraft } from "../model/builder";
import type { Order } from "../model/queries";
import { FieldInput, GroupEditor } from "./ClauseEditor";
import { ClauseList } from "./ClauseList";
import { CursorEditor } from "./CursorEditor";
import { ShowEditor } from "./ShowEditor";

const NEW_ORDER: Order = { field: "", direction: "asc" };

export function QueryForm({
  project,
  database,
  draft,
  names,
  busy,
  error,
  onChange,
  onRun,
  onStop,
}: {
  project: string;
  database: string;
  draft: QueryDraft;
  names: readonly string[];
  busy: boolean;
  error: string | null;
  onChange: (draft: QueryDraft) => void;
  onRun: () => void;
  onStop: () => void;
}): ReactNode {
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
          <h2>Search</h2>
          <TextInput
            aria-label="Words"
            placeholder="red app*"
            value={draft.search}
            onChange={(event) => onChange({ ...draft, search: event.currentTarget.value })}
            autoComplete="off"
          />
          {draft.search.trim() !== "" && (
            <TextInput
              aria-label="Fields to search"
              placeholder="title, body"
              value={draft.searchFields}
              onChange={(event) => onChange({ ...draft, searchFields: event.currentTarget.value })}
              spellCheck={false}
              autoComplete="off"
              styles={{ input: { fontFamily: "var(--mono)", fontSize: 12 } }}
            />
          )}
        </section>
        <section>
          <h2>Near</h2>
          <NearEditor
            near={draft.near}
            names={names}
            onChange={(near) => onChange({ ...draft, near })}
          />
        </section>
        <ShowEditor draft={draft} names={names} onChange={onChange} />
        <section>
          <h2>Order, start, end and limit</h2>
          <Orders
            orders={draft.orders}
            names={names}
            onChange={(orders) => onChange({ ...draft, orders })}
          />
          <CursorEditor project={project} database={database} draft={draft} onChange={onChange} />
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

function NearEditor({
  near,
  names,
  onChange,
}: {
  near: NearDraft;
  names: readonly string[];
  onChange: (near: NearDraft) => void;
}): ReactNode {
  return (
    <>
      <TextInput
        aria-label="Center"
        placeholder="48.2, 16.4"
        value={near.center}
        onChange={(event) => onChange({ ...near, center: event.currentTarget.value })}
        autoComplete="off"
      />
      {near.center.trim() !== "" && (
        <div className="row">
          <FieldInput
            label="Field of the place"
            value={near.field}
            names={names}
            onChange={(field) => onChange({ ...near, field })}
          />
          <TextInput
            aria-label="Radius"
            placeholder="5 km"
            w={112}
            value={near.radius}
            onChange={(event) => onChange({ ...near, radius: event.currentTarget.value })}
            autoComplete="off"
          />
        </div>
      )}
    </>
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
  return (
    <ClauseList name="order" items={orders} made={NEW_ORDER} onChange={onChange}>
      {(order, set) => (
        <>
          <FieldInput
            label="Field of the order"
            value={order.field}
            names={["__name__", ...names]}
            onChange={(field) => set({ ...order, field })}
          />
          <NativeSelect
            aria-label="Direction"
            value={order.direction}
            onChange={(event) =>
              set({ ...order, direction: event.currentTarget.value as Order["direction"] })
            }
            data={[
              { value: "asc", label: "↑ asc" },
              { value: "desc", label: "↓ desc" },
            ]}
          />
        </>
      )}
    </ClauseList>
  );
}
