/** The doors: signing in, the first set-up, and signing in again without losing the page. */

import { Button, Modal, PasswordInput, TextInput } from "@mantine/core";
import { type FormEvent, type ReactNode, useState } from "react";
import { setUp, signIn } from "../api/admin";
import { isReason, messageOf } from "../api/client";
import { endSession, type Session, startSession } from "../api/session";
import { setupToken } from "../model/routes";
import { replaceHash } from "../navigation";
import { Mark } from "./controls";

interface Credentials {
  email: string;
  password: string;
}

function CredentialsForm({
  action,
  email: given = "",
  isNew = false,
  submit,
  children,
}: {
  action: string;
  email?: string;
  isNew?: boolean;
  submit: (credentials: Credentials) => Promise<void>;
  children: ReactNode;
}): ReactNode {
  const [email, setEmail] = useState(given);
  const [password, setPassword] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);

  async function send(event: FormEvent): Promise<void> {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      await submit({ email: email.trim(), password });
    } catch (failure) {
      setError(failure);
      setBusy(false);
    }
  }

  const message = isReason(error, "InvalidCredentials")
    ? "E-mail or password is wrong."
    : error === null
      ? null
      : messageOf(error);
  return (
    <form onSubmit={send} noValidate>
      {children}
      <TextInput
        size="sm"
        label="E-mail"
        type="email"
        name="email"
        autoComplete="username"
        value={email}
        onChange={(event) => setEmail(event.currentTarget.value)}
        required
        withAsterisk={false}
        autoFocus={given === ""}
      />
      <PasswordInput
        size="sm"
        label="Password"
        name="password"
        autoComplete={isNew ? "new-password" : "current-password"}
        description={isNew ? "At least 8 characters." : undefined}
        value={password}
        onChange={(event) => setPassword(event.currentTarget.value)}
        required
        withAsterisk={false}
        autoFocus={given !== ""}
      />
      {message !== null && (
        <p className="error-text" role="alert">
          {message}
        </p>
      )}
      <Button type="submit" size="sm" loading={busy} disabled={email === "" || password === ""}>
        {action}
      </Button>
    </form>
  );
}

export function SignInPage(): ReactNode {
  return (
    <main className="door" id="main">
      <CredentialsForm
        action="Sign in"
        submit={async ({ email, password }) => startSession(await signIn(email, password))}
      >
        <span className="brand">
          <Mark /> baas
        </span>
        <div>
          <h1>Sign in</h1>
          <p className="muted">Administrators of this server only.</p>
        </div>
      </CredentialsForm>
    </main>
  );
}

export function SetUpPage(): ReactNode {
  // Read once: the address loses the token as soon as the server has taken it.
  const [token] = useState(() => setupToken(location.hash));
  if (token === null || token === "")
    return (
      <main className="door" id="main">
        <div className="panel">
          <h1>This link is not complete</h1>
          <p className="muted">
            Open the whole link that the server printed when it started, with everything after the
            question mark.
          </p>
        </div>
      </main>
    );
  return (
    <main className="door" id="main">
      <CredentialsForm
        action="Create administrator"
        isNew
        submit={async ({ email, password }) => {
          const session = await setUp(token, email, password);
          replaceHash("#/");
          startSession(session);
        }}
      >
        <span className="brand">
          <Mark /> baas
        </span>
        <div>
          <h1>Set up this server</h1>
          <p className="muted">You become its first administrator. The link works once.</p>
        </div>
      </CredentialsForm>
    </main>
  );
}

/** Over the page, which keeps its edits. */
export function SessionEnded({ session }: { session: Session }): ReactNode {
  return (
    <Modal
      opened
      onClose={() => undefined}
      withCloseButton={false}
      closeOnEscape={false}
      title="Your session has ended"
      size="sm"
    >
      <div className="again">
        <CredentialsForm
          action="Sign in"
          email={session.email}
          submit={async ({ email, password }) => startSession(await signIn(email, password))}
        >
          <p className="muted">Sign in again to go on. Unsaved edits are still here.</p>
        </CredentialsForm>
        <Button variant="subtle" color="gray" fullWidth mt={8} onClick={endSession}>
          Leave and discard edits
        </Button>
      </div>
    </Modal>
  );
}
