/** A new policy of expiry: what it would reach is told before it is set. */

import { Autocomplete, TextInput } from "@mantine/core";
import { type ReactNode, useState } from "react";
import { listCollections } from "../api/admin";
import { messageOf } from "../api/client";
import { useLoaded } from "../api/hooks";
import { countReach, type Reach, setPolicy } from "../api/ttl";
import { toast } from "./feedback";
import { FormDialog } from "./FormDialog";

export function NewPolicy({
  project,
  database,
  onDone,
  onClose,
}: {
  project: string;
  database: string;
  onDone: () => void;
  onClose: () => void;
}): ReactNode {
  const [collection, setCollection] = useState("");
  const [field, setField] = useState("");
  const [reach, setReach] = useState<Reach | { fault: unknown } | null>(null);
  const collections = useLoaded(`collections ${project} ${database}`, () =>
    listCollections(project, database, null),
  );
  const named = { collection: collection.trim(), field: field.trim() };
  const mustType = reach !== null && ("fault" in reach || reach.expired > 0);

  async function submit(): Promise<boolean> {
    if (reach === null) {
      const now = new Date().toISOString();
      const found = countReach(project, database, named.collection, named.field, now);
      setReach(await found.catch((fault: unknown) => ({ fault })));
      return false;
    }
    await setPolicy(project, database, named.collection, named.field);
    toast(`Documents of ${named.collection} expire at the time in ${named.field}`);
    onDone();
    return true;
  }

  return (
    <FormDialog
      title="Let documents expire"
      action={reach === null ? "Show what would expire" : "Set the policy"}
      danger={mustType}
      disabled={named.collection === "" || named.field === ""}
      typed={mustType ? named.collection : undefined}
      onSubmit={submit}
      onClose={onClose}
    >
      <Autocomplete
        label="Collection id"
        description="Every collection with this id, at any depth."
        placeholder="sessions"
        data={collections.data ?? []}
        openOnFocus={false}
        limit={8}
        value={collection}
        onChange={(value) => {
          setCollection(value);
          setReach(null);
        }}
        comboboxProps={{ withinPortal: false }}
        spellCheck={false}
        data-autofocus
      />
      <TextInput
        label="Field with the time"
        description="A timestamp. Documents where it is missing or something else never expire."
        placeholder="expires"
        value={field}
        onChange={(event) => {
          setField(event.currentTarget.value);
          setReach(null);
        }}
        spellCheck={false}
        autoComplete="off"
      />
      {reach !== null && <ReachText reach={reach} />}
    </FormDialog>
  );
}

function ReachText({ reach }: { reach: Reach | { fault: unknown } }): ReactNode {
  if ("fault" in reach)
    return (
      <p className="error-text breaks" role="alert">
        What would expire cannot be counted: {messageOf(reach.fault)}. The policy can be set all the
        same.
      </p>
    );
  const { dated, expired } = reach;
  const many = (count: number) => count.toLocaleString("en");
  return (
    <div role="status" className="stack">
      {dated === 0 ? (
        <p>
          No document holds a timestamp in this field yet. Look at its spelling if there should be
          some.
        </p>
      ) : (
        <p>
          {dated === 1 ? "One document holds" : `${many(dated)} documents hold`} a timestamp in this
          field.
        </p>
      )}
      {expired > 0 && (
        <p className="error-text">
          {expired === 1
            ? "One of them has expired and goes"
            : `${many(expired)} of them have expired and go`}{" "}
          within minutes. History keeps them for a while.
        </p>
      )}
    </div>
  );
}
