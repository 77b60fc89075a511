import { type ReactNode, useEffect, useRef, useState } from "react";
import { useLoaded } from "../api/hooks";
import { getRules, type Rules } from "../api/rules";
import { Failed, Loading } from "../components/feedback";
import { RulesEditor } from "../components/RulesEditor";
import { RulesTabs } from "../components/RulesTabs";
import { type RulesRoute, rulesHash } from "../model/routes";
import { EMPTY_TRIAL, type TrialForm } from "../model/trials";
import { navigate, useGuard } from "../navigation";
import type { Span } from "../rules/positions";
import { RulesAudit } from "./RulesAudit";
import { RulesDenials } from "./RulesDenials";
import { RulesHistory } from "./RulesHistory";
import "../rules.css";

export function RulesPage({ route }: { route: RulesRoute }): ReactNode {
  const { project } = route;
  const loaded = useLoaded(`rules ${project}`, () => getRules(project));
  if (loaded.data !== undefined)
    return <Sections route={route} deployed={loaded.data} onDeployed={loaded.setData} />;
  return (
    <>
      <RulesTabs route={route} />
      {loaded.loading ? (
        <Loading label="Loading the rules" />
      ) : (
        <Failed
          title="The rules could not be loaded"
          error={loaded.error}
          onRetry={loaded.reload}
        />
      )}
    </>
  );
}

function Sections({
  route,
  deployed,
  onDeployed,
}: {
  route: RulesRoute;
  deployed: Rules;
  onDeployed: (rules: Rules) => void;
}): ReactNode {
  const { project } = route;
  const [source, setSource] = useState(deployed.source);
  const [trial, setTrial] = useState<TrialForm>(EMPTY_TRIAL);
  // A trial that comes from elsewhere opens the playground.
  const [asked, setAsked] = useState(0);
  const [shown, setShown] = useState<Span | null>(null);
  const tried = route.tried === null ? "" : JSON.stringify(route.tried);
  useEffect(() => {
    if (tried === "") return;
    setTrial({ ...EMPTY_TRIAL, ...(JSON.parse(tried) as RulesRoute["tried"]) });
    setAsked((old) => old + 1);
  }, [tried]);
  const dirty = source !== deployed.source;
  useFresh(project, deployed, (rules) => {
    // An unchanged editor follows what is in force; a changed one keeps its base.
    if (dirty) return;
    setSource(rules.source);
    onDeployed(rules);
  });
  useGuard(dirty, "The changed rules", (next) => next.page !== "rules" || next.project !== project);

  function edit(text: string): void {
    setSource(text);
    navigate(rulesHash(project));
  }

  return (
    <>
      <RulesTabs route={route} dirty={dirty} />
      <Kept isShown={route.section === "editor"}>
        <RulesEditor
          isActive={route.section === "editor"}
          project={project}
          deployed={deployed}
          source={source}
          onSource={setSource}
          onDeployed={onDeployed}
          trial={trial}
          onTrial={setTrial}
          asked={asked}
          shown={shown}
          onShown={() => setShown(null)}
        />
      </Kept>
      {route.section === "history" && (
        <RulesHistory
          route={route}
          deployed={deployed}
          dirty={dirty}
          onEdit={edit}
          onDeployed={(rules) => {
            // An unchanged editor follows what is in force.
            if (!dirty) setSource(rules.source);
            onDeployed(rules);
          }}
        />
      )}
      {route.section === "denials" && (
        <RulesDenials
          route={route}
          deployed={deployed}
          onJump={(span) => {
            setShown(span);
            navigate(rulesHash(project));
          }}
          onTry={(form) => {
            setTrial(form);
            setAsked((old) => old + 1);
            navigate(rulesHash(project));
          }}
        />
      )}
      <Kept isShown={route.section === "audit"}>
        <RulesAudit project={project} />
      </Kept>
    </>
  );
}

/** Looks again at what is in force when the person comes back to the page. */
function useFresh(project: string, deployed: Rules, onOther: (rules: Rules) => void): void {
  const latest = useRef({ deployed, onOther });
  latest.current = { deployed, onOther };
  useEffect(() => {
    function look(): void {
      if (document.visibilityState !== "visible") return;
      getRules(project).then(
        (rules) => rules.id !== latest.current.deployed.id && latest.current.onOther(rules),
        () => undefined, // A deployment tells if it is not the one that was seen.
      );
    }
    document.addEventListener("visibilitychange", look);
    return () => document.removeEventListener("visibilitychange", look);
  }, [project]);
}

/** What was found out stays while another section is shown. */
function Kept({ isShown, children }: { isShown: boolean; children: ReactNode }): ReactNode {
  return <div style={{ display: isShown ? "contents" : "none" }}>{children}</div>;
}
