/** The request of the playground: what, where, by whom, with which data, when. */

import {
  Autocomplete,
  Checkbox,
  NativeSelect,
  SegmentedControl,
  Textarea,
  TextInput,
} from "@mantine/core";
import { type ReactNode, useEffect } from "react";
import { listDatabases, listUsers } from "../api/admin";
import { listBuckets } from "../api/files";
import { useLoaded } from "../api/hooks";
import { type FormFault, METHODS, type Method, mayBeBatch, type TrialForm } from "../model/trials";
import { BatchWrites } from "./BatchWrites";
import { FilterBar } from "./FilterBar";
import { DataParts, MONO, type TrialPart } from "./TrialData";

const USERS_OFFERED = 200;
const NO_NAMES: readonly string[] = [];

export function PlaygroundForm({
  project,
  form,
  onForm,
  isActive,
  fault,
}: {
  project: string;
  form: TrialForm;
  onForm: (form: TrialForm) => void;
  isActive: boolean;
  fault: FormFault | null;
}): ReactNode {
  const part: TrialPart = {
    project,
    form,
    set: (change) => onForm({ ...form, ...change }),
    faultOf: (input) => (fault?.input === input && fault.other === null ? fault.message : null),
  };
  return (
    <>
      <div className="row">
        <SegmentedControl
          aria-label="Service"
          data={[
            { value: "documents", label: "Documents" },
            { value: "objects", label: "Files" },
          ]}
          value={form.service}
          onChange={(value) => part.set({ service: value as TrialForm["service"] })}
        />
        <NativeSelect
          aria-label="Method"
          data={[...METHODS]}
          value={form.method}
          onChange={(event) => part.set({ method: event.currentTarget.value as Method })}
        />
      </div>
      <Target {...part} isActive={isActive} />
      <Caller {...part} isActive={isActive} />
      <DataParts {...part} />
      {mayBeBatch(form) && <BatchWrites {...part} fault={fault} />}
      <TextInput
        label="Request time"
        description="Empty: now."
        placeholder="2026-11-22T17:00:00Z"
        value={form.time}
        error={part.faultOf("time")}
        onChange={(event) => part.set({ time: event.currentTarget.value })}
        styles={MONO}
      />
    </>
  );
}

function Target({
  project,
  form,
  set,
  faultOf,
  isActive,
}: TrialPart & { isActive: boolean }): ReactNode {
  const ofObjects = form.service === "objects";
  const isList = form.method === "list";
  const places = useLoaded(`places ${project} ${ofObjects} ${isActive}`, async () => {
    if (!isActive) return [];
    return ofObjects ? listBuckets(project) : listDatabases(project);
  });
  const found = places.data ?? [];
  const only = ofObjects && form.bucket === "" ? found[0] : undefined;
  useEffect(() => {
    if (only !== undefined) set({ bucket: only });
    // oxlint-disable-next-line react/exhaustive-deps -- the first bucket is proposed once.
  }, [only]);
  const input = ofObjects ? "bucket" : "database";
  const what = ofObjects ? (isList ? "Prefix" : "File") : isList ? "Collection" : "Document";
  return (
    <>
      {(ofObjects || found.length > 1) && (
        <NativeSelect
          label={ofObjects ? "Bucket" : "Database"}
          data={found.length === 0 ? [""] : found}
          value={form[input]}
          error={faultOf(input)}
          onChange={(event) => set({ [input]: event.currentTarget.value })}
        />
      )}
      <TextInput
        label={what}
        placeholder={ofObjects ? "photos/ada.png" : isList ? "notes" : "notes/n1"}
        value={form.path}
        error={faultOf("path")}
        onChange={(event) => set({ path: event.currentTarget.value })}
        autoComplete="off"
        spellCheck={false}
        styles={MONO}
      />
      {isList && ofObjects && (
        <Checkbox
          size="xs"
          label="By folder, as apps that browse do"
          checked={form.byFolder}
          onChange={(event) => set({ byFolder: event.currentTarget.checked })}
        />
      )}
      {isList && !ofObjects && (
        <div className="query">
          <FilterBar view={form.view} names={NO_NAMES} onChange={(view) => set({ view })} />
          <div className="row">
            <TextInput
              aria-label="Limit"
              placeholder="limit"
              inputMode="numeric"
              value={form.limit}
              error={faultOf("limit")}
              onChange={(event) => set({ limit: event.currentTarget.value })}
              w={90}
            />
            <Checkbox
              size="xs"
              label="Every collection of this id"
              checked={form.view.group}
              onChange={(event) =>
                set({ view: { ...form.view, group: event.currentTarget.checked } })
              }
            />
          </div>
        </div>
      )}
    </>
  );
}

function Caller({
  project,
  form,
  set,
  faultOf,
  isActive,
}: TrialPart & { isActive: boolean }): ReactNode {
  const wanted = isActive && form.caller === "user";
  const users = useLoaded(`trial users ${project} ${wanted}`, async () =>
    wanted ? (await listUsers(project, null, USERS_OFFERED)).items : [],
  );
  return (
    <fieldset className="part">
      <legend>Caller</legend>
      <SegmentedControl
        aria-label="Caller"
        data={[
          { value: "nobody", label: "Not signed in" },
          { value: "user", label: "A user" },
          { value: "custom", label: "Made up" },
        ]}
        value={form.caller}
        onChange={(value) => set({ caller: value as TrialForm["caller"] })}
      />
      {form.caller === "user" && (
        <Autocomplete
          size="xs"
          label="User"
          description="By e-mail address or uid."
          data={(users.data ?? []).map((user) => user.email)}
          value={form.user}
          error={faultOf("user")}
          onChange={(user) => set({ user })}
          limit={20}
          spellCheck={false}
          styles={MONO}
        />
      )}
      {form.caller === "custom" && (
        <TextInput
          label="uid"
          value={form.uid}
          error={faultOf("uid")}
          onChange={(event) => set({ uid: event.currentTarget.value })}
          autoComplete="off"
          spellCheck={false}
          styles={MONO}
        />
      )}
      {form.caller !== "nobody" && (
        <Textarea
          label={form.caller === "user" ? "Further claims" : "Claims"}
          description="JSON, besides what every token says."
          placeholder='{"admin": true}'
          value={form.claims}
          error={faultOf("claims")}
          onChange={(event) => set({ claims: event.currentTarget.value })}
          autosize
          minRows={1}
          maxRows={8}
          spellCheck={false}
          styles={MONO}
        />
      )}
    </fieldset>
  );
}
