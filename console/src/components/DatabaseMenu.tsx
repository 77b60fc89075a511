import { Menu } from "@mantine/core";
import { IconDatabase, IconSelector } from "@tabler/icons-react";
import type { ReactNode } from "react";
import { listDatabases } from "../api/admin";
import { useLoaded } from "../api/hooks";
import { navigate } from "../navigation";

/** Switches between the databases of a project that has several. */
export function DatabaseMenu({
  project,
  database,
  hashOf,
}: {
  project: string;
  database: string;
  hashOf: (database: string) => string;
}): ReactNode {
  const databases = useLoaded(`databases ${project}`, () => listDatabases(project));
  const known = databases.data ?? [];
  if (known.length < 2 && (known.length === 0 || known[0] === database)) return null;
  return (
    <Menu position="bottom-end">
      <Menu.Target>
        <button type="button" className="bare chip" aria-label={`Database ${database}, switch`}>
          <span className="row mono" style={{ gap: 5, padding: "0 7px" }}>
            <IconDatabase size={13} /> {database} <IconSelector size={13} />
          </span>
        </button>
      </Menu.Target>
      <Menu.Dropdown>
        {known.map((item) => (
          <Menu.Item key={item} className="mono" onClick={() => navigate(hashOf(item))}>
            {item}
          </Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}
