/** The frame: sidebar, project switcher, shortcuts, and the page in the middle. */

import { Drawer, Menu, Modal, useMantineColorScheme } from "@mantine/core";
import {
  IconChevronDown,
  IconDatabase,
  IconDatabaseExport,
  IconFiles,
  IconHourglass,
  IconIndentIncrease,
  IconKeyboard,
  IconListSearch,
  IconLogout,
  IconMenu2,
  IconMoon,
  IconPlus,
  IconProgressCheck,
  IconSchema,
  IconSelector,
  IconSettings,
  IconShieldCheck,
  IconSun,
  IconSunMoon,
  IconUsers,
} from "@tabler/icons-react";
import { type ReactNode, useEffect, useRef, useState } from "react";
import { type Project, signOut } from "../api/admin";
import { endSession, useSession } from "../api/session";
import { DEFAULT_DATABASE, dataHash, type ProjectPage, pageHash } from "../model/routes";
import { navigate } from "../navigation";
import { IconAction, Mark } from "./controls";

const PAGES: readonly {
  page: ProjectPage;
  label: string;
  icon: ReactNode;
  key: string;
  /** What comes from here on is of another kind. */
  isFirst?: boolean;
}[] = [
  { page: "data", label: "Data", icon: <IconDatabase />, key: "d" },
  { page: "query", label: "Query", icon: <IconListSearch />, key: "q" },
  { page: "indexes", label: "Indexes", icon: <IconIndentIncrease />, key: "i" },
  { page: "schemas", label: "Schemas", icon: <IconSchema />, key: "m" },
  { page: "expiry", label: "Expiry and history", icon: <IconHourglass />, key: "e" },
  { page: "jobs", label: "Jobs", icon: <IconProgressCheck />, key: "j" },
  { page: "files", label: "Files", icon: <IconFiles />, key: "f", isFirst: true },
  { page: "rules", label: "Rules", icon: <IconShieldCheck />, key: "r", isFirst: true },
  { page: "users", label: "Users", icon: <IconUsers />, key: "u" },
  { page: "backups", label: "Backups", icon: <IconDatabaseExport />, key: "b", isFirst: true },
  { page: "settings", label: "Settings", icon: <IconSettings />, key: "s" },
];

function hashOf(project: string, page: ProjectPage): string {
  return page === "data" ? dataHash(project, DEFAULT_DATABASE, []) : pageHash(project, page);
}

interface ShellProps {
  project: string | null;
  page: ProjectPage | null;
  projects: readonly Project[] | undefined;
  children: ReactNode;
}

export function Shell({ project, page, projects, children }: ShellProps): ReactNode {
  const [isDrawerOpen, setDrawerOpen] = useState(false);
  const [isHelpOpen, setHelpOpen] = useState(false);
  const main = useRef<HTMLElement>(null);
  useShortcuts(project, () => setHelpOpen(true));
  const side = (
    <Side
      project={project}
      page={page}
      projects={projects}
      onHelp={() => {
        setDrawerOpen(false);
        setHelpOpen(true);
      }}
      onNavigate={() => setDrawerOpen(false)}
    />
  );
  return (
    <>
      <a
        className="skip"
        href="#main"
        onClick={(event) => {
          // The hash is the address of the page: move the focus only.
          event.preventDefault();
          main.current?.focus();
        }}
      >
        Skip to content
      </a>
      <div className="shell">
        <nav className="side" aria-label="Console">
          {side}
        </nav>
        <header className="top">
          <IconAction label="Open navigation" onClick={() => setDrawerOpen(true)}>
            <IconMenu2 size={18} />
          </IconAction>
          <a className="brand" href="#/" style={{ padding: 0 }}>
            <Mark /> <span className="truncate">{project ?? "baas"}</span>
          </a>
        </header>
        <main className="main" id="main" tabIndex={-1} ref={main}>
          {children}
        </main>
      </div>
      <Drawer
        opened={isDrawerOpen}
        onClose={() => setDrawerOpen(false)}
        size={250}
        title="Navigation"
        transitionProps={{ duration: 120 }}
        closeButtonProps={{ "aria-label": "Close navigation" }}
      >
        <nav aria-label="Console">{side}</nav>
      </Drawer>
      <Shortcuts opened={isHelpOpen} onClose={() => setHelpOpen(false)} />
    </>
  );
}

function Side({
  project,
  page,
  projects,
  onHelp,
  onNavigate,
}: Omit<ShellProps, "children"> & { onHelp: () => void; onNavigate: () => void }): ReactNode {
  return (
    <>
      <a className="brand" href="#/" onClick={onNavigate}>
        <Mark /> baas
      </a>
      {project !== null && <Switcher project={project} projects={projects ?? []} />}
      {project !== null && (
        <div className="nav">
          {PAGES.map((item) => (
            <a
              key={item.page}
              href={hashOf(project, item.page)}
              aria-current={item.page === page ? "page" : undefined}
              data-first={item.isFirst}
              onClick={onNavigate}
            >
              {item.icon} {item.label}
              <span className="key" aria-hidden>
                g {item.key}
              </span>
            </a>
          ))}
        </div>
      )}
      <div style={{ flex: 1, minHeight: 16 }} />
      <div className="nav">
        <button type="button" className="bare" onClick={onHelp}>
          <IconKeyboard /> Shortcuts
          <span className="key" aria-hidden>
            ?
          </span>
        </button>
        <SchemeMenu />
        <AccountMenu />
      </div>
    </>
  );
}

function Switcher({
  project,
  projects,
}: {
  project: string;
  projects: readonly Project[];
}): ReactNode {
  const name = projects.find((item) => item.id === project)?.name ?? project;
  return (
    <Menu width={220} position="bottom-start">
      <Menu.Target>
        <button type="button" className="bare switcher">
          <span className="sr-only">Switch from project </span>
          <span className="grow">
            <span className="name truncate" style={{ display: "block" }}>
              {name}
            </span>
            {name !== project && (
              <span className="id truncate" style={{ display: "block" }}>
                {project}
              </span>
            )}
          </span>
          <IconSelector size={15} className="muted" />
        </button>
      </Menu.Target>
      <Menu.Dropdown style={{ maxHeight: 380, overflowY: "auto" }}>
        <Menu.Label>Projects</Menu.Label>
        {projects.map((item) => (
          <Menu.Item
            key={item.id}
            onClick={() => navigate(dataHash(item.id, DEFAULT_DATABASE, []))}
            rightSection={<code className="muted">{item.name === item.id ? "" : item.id}</code>}
          >
            {item.name}
          </Menu.Item>
        ))}
        <Menu.Divider />
        <Menu.Item leftSection={<IconPlus size={15} />} onClick={() => navigate("#/")}>
          All projects
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}

const SCHEMES = [
  { value: "auto", label: "System", icon: <IconSunMoon size={15} /> },
  { value: "light", label: "Light", icon: <IconSun size={15} /> },
  { value: "dark", label: "Dark", icon: <IconMoon size={15} /> },
] as const;

function SchemeMenu(): ReactNode {
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const current = SCHEMES.find((item) => item.value === colorScheme) ?? SCHEMES[0];
  return (
    <Menu position="right-end" width={150}>
      <Menu.Target>
        <button type="button" className="bare">
          {current.icon} Theme: {current.label}
        </button>
      </Menu.Target>
      <Menu.Dropdown>
        {SCHEMES.map((item) => (
          <Menu.Item
            key={item.value}
            leftSection={item.icon}
            onClick={() => setColorScheme(item.value)}
          >
            {item.label}
          </Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}

function AccountMenu(): ReactNode {
  const { session } = useSession();
  async function leave(): Promise<void> {
    try {
      await signOut();
    } catch {
      // The token is forgotten here in any case, and ends by itself on the server.
    }
    endSession();
  }
  return (
    <Menu position="right-end">
      <Menu.Target>
        <button type="button" className="bare" aria-label={`Account ${session?.email ?? ""}`}>
          <span className="truncate grow">{session?.email}</span>
          <IconChevronDown />
        </button>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Item leftSection={<IconLogout size={15} />} onClick={leave}>
          Sign out
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}

const SHORTCUTS: readonly { keys: readonly string[]; does: string }[] = [
  { keys: ["g", "d"], does: "Data" },
  { keys: ["g", "q"], does: "Query builder" },
  { keys: ["g", "i"], does: "Indexes" },
  { keys: ["g", "m"], does: "Schemas" },
  { keys: ["g", "e"], does: "Expiry, history and erasures" },
  { keys: ["g", "j"], does: "Jobs" },
  { keys: ["g", "f"], does: "Files" },
  { keys: ["g", "r"], does: "Rules" },
  { keys: ["g", "u"], does: "Users" },
  { keys: ["g", "b"], does: "Backups" },
  { keys: ["g", "s"], does: "Settings" },
  { keys: ["g", "p"], does: "All projects" },
  { keys: ["/"], does: "Go to a path" },
  { keys: ["f"], does: "Add a filter" },
  { keys: ["n"], does: "New document, folder, user or project" },
  { keys: ["u"], does: "Upload files" },
  { keys: ["↑", "↓"], does: "Move through documents or files, Enter opens" },
  { keys: ["Ctrl", "S"], does: "Save the document, or deploy the rules" },
  { keys: ["Ctrl", "Enter"], does: "Run the query, the playground, or the tests of rules" },
  { keys: ["Esc"], does: "Close a dialog or an edit; then Tab leaves the code editor" },
  { keys: ["?"], does: "This list" },
];

function Shortcuts({ opened, onClose }: { opened: boolean; onClose: () => void }): ReactNode {
  return (
    <Modal opened={opened} onClose={onClose} title="Keyboard shortcuts" size="sm">
      <dl className="keys">
        {SHORTCUTS.map(({ keys, does }) => (
          <div key={does} style={{ display: "contents" }}>
            <dt>
              {keys.map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{does}</dd>
          </div>
        ))}
      </dl>
    </Modal>
  );
}

function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName))
  );
}

/** `g` and a letter go to a page; the other letters press the button that carries them. */
function useShortcuts(project: string | null, onHelp: () => void): void {
  const help = useRef(onHelp);
  help.current = onHelp;
  useEffect(() => {
    let goingSince = 0;
    function press(event: KeyboardEvent): void {
      if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
      if (document.querySelector('[role="dialog"]') !== null) return;
      const going = Date.now() - goingSince < 1500;
      goingSince = 0;
      if (going) {
        const item = PAGES.find(({ key }) => key === event.key);
        if (item !== undefined && project !== null) navigate(hashOf(project, item.page));
        else if (event.key === "p") navigate("#/");
        else return;
        event.preventDefault();
        return;
      }
      if (event.key === "g") goingSince = Date.now();
      else if (event.key === "?") help.current();
      else {
        const letter = /^[a-z/]$/.test(event.key) ? event.key : null;
        const target = letter && document.querySelector<HTMLElement>(`[data-key="${letter}"]`);
        if (!target || target.offsetParent === null) return;
        event.preventDefault();
        if (target instanceof HTMLInputElement) target.focus();
        else target.click();
      }
    }
    window.addEventListener("keydown", press);
    return () => window.removeEventListener("keydown", press);
  }, [project]);
}
