/** What an administrator may change of a user: claims, the verified address, the password. */

import { PasswordInput, Switch, Textarea } from "@mantine/core";
import { type ReactNode, useState } from "react";
import { type User, type UserChange, updateUser } from "../api/admin";
import { parseClaims } from "../model/claims";
import { writeJson } from "../model/json";
import { FormDialog } from "./FormDialog";
import { toast } from "./feedback";

export function EditUser({
  project,
  user,
  onDone,
  onClose,
}: {
  project: string;
  user: User;
  onDone: (user: User) => void;
  onClose: () => void;
}): ReactNode {
  const before = Object.keys(user.claims).length === 0 ? "" : writeJson(user.claims, 2);
  const [claims, setClaims] = useState(before);
  const [isVerified, setVerified] = useState(user.emailVerified);
  const [password, setPassword] = useState("");

  async function save(): Promise<void> {
    const change: UserChange = {};
    if (claims !== before) change.claims = parseClaims(claims);
    if (isVerified !== user.emailVerified) change.emailVerified = isVerified;
    if (password !== "") change.password = password;
    onDone(await updateUser(project, user.uid, change));
    toast(`${user.email} is changed`);
  }

  return (
    <FormDialog title="Edit user" action="Save" onSubmit={save} onClose={onClose}>
      <p className="muted breaks">{user.email}</p>
      <Switch
        label="The e-mail address is verified"
        checked={isVerified}
        onChange={(event) => setVerified(event.currentTarget.checked)}
      />
      <Textarea
        label="Claims"
        description="JSON that rules see as request.auth.token, from the next token on."
        placeholder='{"admin": true}'
        value={claims}
        onChange={(event) => setClaims(event.currentTarget.value)}
        autosize
        minRows={2}
        maxRows={12}
        spellCheck={false}
        data-autofocus
        styles={{ input: { fontFamily: "var(--mono)", fontSize: 12 } }}
      />
      <PasswordInput
        label="New password"
        description="Empty: it stays. A new one signs the user out everywhere."
        value={password}
        onChange={(event) => setPassword(event.currentTarget.value)}
        autoComplete="new-password"
      />
    </FormDialog>
  );
}
