import type { ReactNode } from "react";
import { type RulesRoute, type RulesSection, rulesHash } from "../model/routes";

const NAMES: readonly (readonly [RulesSection, string])[] = [
  ["editor", "Editor"],
  ["history", "History"],
  ["denials", "Denials"],
  ["audit", "Audit"],
];

/** The head of the rules page: its title and its sections. */
export function RulesTabs({
  route,
  dirty = false,
}: {
  route: RulesRoute;
  dirty?: boolean;
}): ReactNode {
  return (
    <header className="bar">
      <h1>Rules</h1>
      <nav className="tabs" aria-label="Rules">
        {NAMES.map(([section, name]) => (
          <a
            key={section}
            href={rulesHash(route.project, section)}
            aria-current={section === route.section ? "page" : undefined}
          >
            {name}
            {section === "editor" && dirty && (
              <span className="dot" role="img" aria-label="not deployed" />
            )}
          </a>
        ))}
      </nav>
    </header>
  );
}
