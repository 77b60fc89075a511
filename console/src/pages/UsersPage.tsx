import { Button, Menu, PasswordInput, TextInput } from "@mantine/core";
import {
  IconDotsVertical,
  IconPencil,
  IconPlus,
  IconSearch,
  IconTrash,
  IconUserCheck,
  IconUserOff,
  IconUsers,
} from "@tabler/icons-react";
import { type ReactNode, useState } from "react";
import { createUser, deleteUser, findUsers, listUsers, type User, updateUser } from "../api/admin";
import { Confirm } from "../components/Confirm";
import { Copy, IconAction, Moment } from "../components/controls";
import { EditUser } from "../components/EditUser";
import { FormDialog } from "../components/FormDialog";
import { Empty, toast, toastError } from "../components/feedback";
import { Listing, usePages } from "../components/Listing";
import { type Column, Table } from "../components/Table";
import { type JsonObject, writeJson } from "../model/json";

const PAGE = 50;

export function UsersPage({ project }: { project: string }): ReactNode {
  const [sought, setSought] = useState("");
  const pages = usePages("users", `${project} ${sought}`, (token) =>
    sought === "" ? listUsers(project, token, PAGE) : findUsers(project, sought),
  );
  const [isCreating, setCreating] = useState(false);
  const [editing, setEditing] = useState<User | null>(null);
  const [deleting, setDeleting] = useState<User | null>(null);

  function replace(user: User): void {
    if (pages.data === undefined) return;
    const items = pages.data.items.map((item) => (item.uid === user.uid ? user : item));
    pages.setData({ ...pages.data, items });
  }

  async function toggle(user: User): Promise<void> {
    try {
      replace(await updateUser(project, user.uid, { disabled: !user.disabled }));
      toast(user.disabled ? `${user.email} may sign in again` : `${user.email} is disabled`);
    } catch (error) {
      toastError("The user was not changed", error);
    }
  }

  return (
    <>
      <header className="bar">
        <h1 className="grow">Users</h1>
        <FindUser onFind={setSought} />
        <Button leftSection={<IconPlus size={15} />} onClick={() => setCreating(true)} data-key="n">
          New user
        </Button>
      </header>
      <div className="page">
        <Listing
          pages={pages}
          empty={
            sought === "" ? (
              <Empty
                icon={<IconUsers />}
                title="No users yet"
                action={<Button onClick={() => setCreating(true)}>Create a user</Button>}
              >
                Users appear here when they sign up in an app, or when you create them.
              </Empty>
            ) : (
              <Empty icon={<IconUsers />} title="Nobody has this e-mail address or UID">
                Addresses and UIDs are found whole, not by a part of them.
              </Empty>
            )
          }
        >
          {({ items }) => (
            <Table
              label="Users"
              className="users-grid"
              items={items}
              keyOf={(user) => user.uid}
              columns={columnsOf(setEditing, (user) => void toggle(user), setDeleting)}
            />
          )}
        </Listing>
      </div>
      {isCreating && (
        <NewUser project={project} onDone={pages.reload} onClose={() => setCreating(false)} />
      )}
      {editing !== null && (
        <EditUser
          project={project}
          user={editing}
          onDone={replace}
          onClose={() => setEditing(null)}
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
            pages.reload();
          }}
        >
          <p>
            <strong className="breaks">{deleting.email}</strong> is signed out everywhere and cannot
            sign in again. The user's documents stay. This cannot be undone.
          </p>
        </Confirm>
      )}
    </>
  );
}

/** Asks when it is submitted, and for all again when it is emptied. */
function FindUser({ onFind }: { onFind: (sought: string) => void }): ReactNode {
  const [text, setText] = useState("");
  return (
    <form
      role="search"
      className="find"
      onSubmit={(event) => {
        event.preventDefault();
        onFind(text.trim());
      }}
    >
      <TextInput
        type="search"
        aria-label="Find a user by e-mail or UID"
        placeholder="E-mail or UID, Enter"
        leftSection={<IconSearch size={15} />}
        value={text}
        onChange={(event) => {
          setText(event.currentTarget.value);
          if (event.currentTarget.value === "") onFind("");
        }}
        maxLength={320}
        autoComplete="off"
        spellCheck={false}
      />
    </form>
  );
}

function columnsOf(
  onEdit: (user: User) => void,
  onToggle: (user: User) => void,
  onDelete: (user: User) => void,
): readonly Column<User>[] {
  return [
    {
      name: "E-mail",
      className: "first",
      cell: (user) => <strong>{user.email}</strong>,
      title: (user) => user.email,
    },
    {
      name: "Status",
      cell: ({ disabled, emailVerified }) => (
        <>
          <span className="badge" data-tone={disabled ? "warn" : "good"}>
            {disabled ? "disabled" : "active"}
          </span>{" "}
          {emailVerified && <span className="badge wide-only">verified</span>}
        </>
      ),
    },
    {
      name: "UID",
      isWide: true,
      cell: ({ uid }) => (
        <span className="row" style={{ gap: 2 }}>
          <code className="muted truncate">{uid}</code>
          <Copy text={uid} label="Copy UID" />
        </span>
      ),
    },
    {
      name: "Claims",
      isWide: true,
      className: "muted claims",
      cell: ({ claims }) => <code>{claimsText(claims)}</code>,
      title: ({ claims }) => claimsText(claims),
    },
    {
      name: "Created",
      isWide: true,
      className: "muted",
      cell: ({ created }) => <Moment time={created} />,
    },
    {
      name: "Last sign-in",
      isWide: true,
      className: "muted",
      cell: ({ lastSignIn }) => (lastSignIn === null ? "never" : <Moment time={lastSignIn} />),
    },
    {
      name: "Actions",
      isBare: true,
      className: "acts",
      cell: (user) => (
        <Menu position="bottom-end">
          <Menu.Target>
            <IconAction label={`Actions for ${user.email}`}>
              <IconDotsVertical size={16} />
            </IconAction>
          </Menu.Target>
          <Menu.Dropdown>
            <Menu.Item leftSection={<IconPencil size={15} />} onClick={() => onEdit(user)}>
              Edit…
            </Menu.Item>
            <Menu.Item
              leftSection={user.disabled ? <IconUserCheck size={15} /> : <IconUserOff size={15} />}
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
      ),
    },
  ];
}

function claimsText(claims: JsonObject): string {
  return Object.keys(claims).length === 0 ? "" : writeJson(claims);
}

function NewUser({
  project,
  onDone,
  onClose,
}: {
  project: string;
  onDone: () => void;
  onClose: () => void;
}): ReactNode {
  const [email, setEmail] = useState("");
  const [password, setPassword] = useState("");
  return (
    <FormDialog
      title="New user"
      action="Create user"
      size="sm"
      disabled={email === "" || password === ""}
      onClose={onClose}
      onSubmit={async () => {
        const user = await createUser(project, email.trim(), password);
        toast(`${user.email} is created`);
        onDone();
      }}
    >
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
    </FormDialog>
  );
}
