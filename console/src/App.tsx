import { Button, Modal } from "@mantine/core";
import { IconMapQuestion } from "@tabler/icons-react";
import { lazy, type ReactNode, Suspense, useEffect } from "react";
import { listProjects } from "./api/admin";
import { useLoaded } from "./api/hooks";
import { useSession } from "./api/session";
import { Empty, Loading } from "./components/feedback";
import { Shell } from "./components/Shell";
import { SessionEnded, SetUpPage, SignInPage } from "./components/SignIn";
import { UploadTray } from "./components/UploadTray";
import type { Route } from "./model/routes";
import { visible } from "./model/text";
import { leave, stay, usePendingNavigation, useRoute } from "./navigation";
import { DataPage } from "./pages/DataPage";
import { ProjectsPage } from "./pages/ProjectsPage";
import { SettingsPage } from "./pages/SettingsPage";
import { UsersPage } from "./pages/UsersPage";

const FilesPage = lazy(async () => ({ default: (await import("./pages/FilesPage")).FilesPage }));
const ExpiryPage = lazy(async () => ({
  default: (await import("./pages/ExpiryPage")).ExpiryPage,
}));
const HistoryPage = lazy(async () => ({
  default: (await import("./pages/HistoryPage")).HistoryPage,
}));
const IndexesPage = lazy(async () => ({
  default: (await import("./pages/IndexesPage")).IndexesPage,
}));
const JobsPage = lazy(async () => ({ default: (await import("./pages/JobsPage")).JobsPage }));
const QueryPage = lazy(async () => ({ default: (await import("./pages/QueryPage")).QueryPage }));
const BackupsPage = lazy(async () => ({
  default: (await import("./pages/BackupsPage")).BackupsPage,
}));
const SchemasPage = lazy(async () => ({
  default: (await import("./pages/SchemasPage")).SchemasPage,
}));
const RulesPage = lazy(async () => ({ default: (await import("./pages/RulesPage")).RulesPage }));

export function App(): ReactNode {
  const route = useRoute();
  const { session, expired } = useSession();
  useTitle(route);
  if (route.page === "setup") return <SetUpPage />;
  if (session === null) return <SignInPage />;
  return (
    <>
      <Signed route={route} key={session.email} />
      <LeaveDialog />
      {expired && <SessionEnded session={session} />}
    </>
  );
}

function Signed({ route }: { route: Route }): ReactNode {
  const projects = useLoaded("projects", listProjects);
  const project = "project" in route ? route.project : null;
  const page =
    route.page === "projects" || route.page === "setup" || route.page === "unknown"
      ? null
      : route.page === "history"
        ? "data"
        : route.page;
  return (
    <Shell project={project} page={page} projects={projects.data}>
      <Suspense fallback={<Loading label="Loading the page" />}>
        <Page route={route} projects={projects} />
      </Suspense>
      <UploadTray />
    </Shell>
  );
}

function Page({
  route,
  projects,
}: {
  route: Route;
  projects: ReturnType<typeof useLoaded<Awaited<ReturnType<typeof listProjects>>>>;
}): ReactNode {
  switch (route.page) {
    case "data":
      return <DataPage key={`${route.project} ${route.database}`} route={route} />;
    case "files":
      return <FilesPage key={route.project} route={route} />;
    case "rules":
      return <RulesPage key={route.project} route={route} />;
    case "query":
      return <QueryPage key={`${route.project} ${route.database}`} route={route} />;
    case "history":
      return (
        <HistoryPage
          key={`${route.project} ${route.database} ${route.path.join("/")}`}
          route={route}
        />
      );
    case "expiry":
      return <ExpiryPage key={`${route.project} ${route.database}`} route={route} />;
    case "indexes":
      return <IndexesPage key={`${route.project} ${route.database}`} route={route} />;
    case "jobs":
      return <JobsPage key={route.project} project={route.project} />;
    case "schemas":
      return <SchemasPage key={route.project} project={route.project} />;
    case "backups":
      return <BackupsPage key={route.project} project={route.project} />;
    case "users":
      return <UsersPage key={route.project} project={route.project} />;
    case "settings":
      return (
        <SettingsPage key={route.project} project={route.project} onChange={projects.reload} />
      );
    case "projects":
      return <ProjectsPage projects={projects} />;
    default:
      return (
        <Empty
          icon={<IconMapQuestion />}
          title="There is no such page"
          action={
            <Button component="a" href="#/" variant="default">
              All projects
            </Button>
          }
        >
          The address does not lead anywhere in the console.
        </Empty>
      );
  }
}

function LeaveDialog(): ReactNode {
  const pending = usePendingNavigation();
  return (
    <Modal opened={pending !== null} onClose={stay} title="Leave without saving?" size="sm">
      <p>{pending?.what} will be lost.</p>
      <div className="form-actions">
        <Button color="red" variant="light" c="var(--danger)" onClick={leave}>
          Discard and leave
        </Button>
        <Button onClick={stay} data-autofocus>
          Keep editing
        </Button>
      </div>
    </Modal>
  );
}

function useTitle(route: Route): void {
  const parts = ["baas"];
  if ("project" in route) parts.unshift(route.project);
  if (route.page === "data" && route.path.length > 0) parts.unshift(route.path.join("/"));
  else if (route.page !== "projects") parts.unshift(route.page);
  const title = parts.join(" · ");
  useEffect(() => {
    document.title = visible(title);
  }, [title]);
}
