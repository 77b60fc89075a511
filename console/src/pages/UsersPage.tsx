import { Button, Menu, PasswordInput, TextInput } from "@mantine/core";
import {
  IconDotsVertical,
  IconPlus,
  IconTrash,
  IconUserCheck,
  IconUserOff,
  IconUsers,
} from "@tabler/icons-react";
import { type FormEvent, type ReactNode, useState } from "react";
import { createUser, deleteUser, listUsers, setUserDisabled, type User } from "../api/admin";
import { messageOf } from "../api/client";
import { useLoaded } from "../api/hooks";
import { Confirm } from "../components/Confirm";
import { Copy, IconAction } from "../components/controls";
import { Dialog } from "../components/Dialog";
import { Empty, Failed, Loading, toast, toastError } from "../components/feedback";
import { shortTime } from "../model/inputs";

const PAGE = 50;

export function UsersPage({ project }: { project: string }): ReactNode {
  const first = useLoaded(`users ${project}`, () => listUsers(project, null, PAGE));
  const [busy, setBusy] = useState(false);
  const [isCreating, setCreating] = useState(false);
  const [deleting, setDeleting] = useState<User | null>(null);
  const page = first.data;

  async function more(): Promise<void> {
    if (page === undefined || page.nextPageToken === null) return;
    setBusy(true);
    try {
      const next = await listUsers(project, page.nextPageToken, PAGE);
      first.setData({ ...next, users: [...page.users, ...next.users] });
    } catch (error) {
      toastError("More users could not be loaded", error);
    }
    setBusy(false);
  }

  function replace(user: User): void {
    if (page === undefined) return;
    const users = page.users.map((item) => (item.uid === user.uid ? user : item));
    first.setData({ ...page, users });
  }

  async function toggle(user: User): Promise<void> {
    try {
      await setUserDisabled(project, user.uid, !user.disabled);
      replace({ ...user, disabled: !user.disabled });
      toast(user.disabled ? `${user.email} may sign in again` : `${user.email} is disabled`);
    } catch (error) {
      toastError("The user was not changed", error);
    }
  }

  return (
    <>
      <header className="bar">
        <h1 className="grow">Users</h1>
        <Button leftSection={<IconPlus size={15} />} onClick={() => setCreating(true)} data-key="n">
          New user
        </Button>
      </header>
      <div className="page">
        {page === undefined && first.loading && <Loading label="Loading users" />}
        {page === undefined && !first.loading && (
          <Failed title="Users could not be loaded" error={first.error} onRetry={first.reload} />
        )}
        {page !== undefined && page.users.length === 0 && (
          <Empty
            icon={<IconUsers />}
            title="No users yet"
            action={<Button onClick={() => setCreating(true)}>Create a user</Button>}
          >
            Users appear here when they sign up in an app, or when you create them.
          </Empty>
        )}
        {page !== undefined && page.users.length > 0 && (
          <UserTable users={page.users} onToggle={toggle} onDelete={setDeleting} />
        )}
        {page !== undefined && page.nextPageToken !== null && (
          <div className="row" style={{ padding: 14, justifyContent: "center" }}>
            <Button variant="default" loading={busy} onClick={more}>
              Load more
            </Button>
          </div>
        )}
      </div>
      {isCreating && (
        <NewUser
          project={project}
          onClose={(made) => {
            setCreating(false);
            if (made) first.reload();
          }}
        />
      )}
      {deleting !== null && (
        <Confirm
          title="Delete this user?"
          action="Delete user"
          danger
          onClose={() => setDeleting(null)}
          onConfirm={async () => {
            await deleteUser(project, deleting.uid);
            toast(`${deleting.email} is deleted`);
            first.reload();
          }}
        >
          <p>
            <strong>{deleting.email}</strong> is signed out everywhere and cannot sign in again. The
            user's documents stay. This cannot be undone.
          </p>
        </Confirm>
      )}
    </>
  );
}

function UserTable({
  users,
  onToggle,
  onDelete,
}: {
  users: readonly User[];
  onToggle: (user: User) => void;
  onDelete: (user: User) => void;
}): ReactNode {
  return (
    <table className="grid still users-grid">
      <thead>
        <tr>
          <th scope="col">
            <span>E-mail</span>
          </th>
          <th scope="col">
            <span>Status</span>
          </th>
          <th scope="col" className="wide-only">
            <span>UID</span>
          </th>
          <th scope="col" className="wide-only">
            <span>Created</span>
          </th>
          <th scope="col" className="wide-only">
            <span>Last sign-in</span>
          </th>
          <th scope="col">
            <span className="sr-only">Actions</span>
          </th>
        </tr>
      </thead>
      <tbody>
        {users.map((user) => (
          <tr key={user.uid}>
            <td style={{ paddingLeft: 14, fontWeight: 500 }} title={user.email}>
              {user.email}
            </td>
            <td>
              {user.disabled ? (
                <span className="badge" data-tone="warn">
                  disabled
                </span>
              ) : (
                <span className="badge" data-tone="good">
                  active
                </span>
              )}
            </td>
            <td className="wide-only">
              <span className="row" style={{ gap: 2 }}>
                <code className="muted truncate">{user.uid}</code>
                <Copy text={user.uid} label="Copy UID" />
              </span>
            </td>
            <td className="muted wide-only">{shortTime(user.created)}</td>
            <td className="muted wide-only">
              {user.lastSignIn === null ? "never" : shortTime(user.lastSignIn)}
            </td>
            <td style={{ textAlign: "right", width: 1 }}>
              <Menu position="bottom-end">
                <Menu.Target>
                  <IconAction label={`Actions for ${user.email}`}>
                    <IconDotsVertical size={16} />
                  </IconAction>
                </Menu.Target>
                <Menu.Dropdown>
                  <Menu.Item
                    leftSection={
                      user.disabled ? <IconUserCheck size={15} /> : <IconUserOff size={15} />
                    }
                    onClick={() => onToggle(user)}
                  >
                    {user.disabled ? "Enable" : "Disable"}
                  </Menu.Item>
                  <Menu.Item
                    color="var(--danger)"
                    leftSection={<IconTrash size={15} />}
                    onClick={() => onDelete(user)}
                  >
                    Delete…
                  </Menu.Item>
                </Menu.Dropdown>
              </Menu>
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function NewUser({
  project,
  onClose,
}: {
  project: string;
  onClose: (made: boolean) => void;
}): ReactNode {
  const [email, setEmail] = useState("");
  const [password, setPassword] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);

  async function submit(event: FormEvent): Promise<void> {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      const user = await createUser(project, email.trim(), password);
      toast(`${user.email} is created`);
      onClose(true);
    } catch (failure) {
      setError(failure);
      setBusy(false);
    }
  }

  return (
    <Dialog onClose={() => onClose(false)} title="New user" size="sm">
      <form className="stack" onSubmit={submit} noValidate>
        <TextInput
          label="E-mail"
          type="email"
          value={email}
          onChange={(event) => setEmail(event.currentTarget.value)}
          autoComplete="off"
          data-autofocus
        />
        <PasswordInput
          label="Password"
          description="At least 8 characters."
          value={password}
          onChange={(event) => setPassword(event.currentTarget.value)}
          autoComplete="new-password"
        />
        {error !== null && (
          <p className="error-text" role="alert">
            {messageOf(error)}
          </p>
        )}
        <div className="form-actions">
          <Button variant="default" onClick={() => onClose(false)}>
            Cancel
          </Button>
          <Button type="submit" loading={busy} disabled={email === "" || password === ""}>
            Create user
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
