import { useEffect, useRef } from "react";

/** While `active`, Ctrl or ⌘ and Enter run, wherever the focus is on the page. */
export function useRunKey(active: boolean, run: () => void): void {
  const latest = useRef(run);
  latest.current = run;
  useEffect(() => {
    if (!active) return undefined;
    function press(event: KeyboardEvent): void {
      if (!(event.ctrlKey || event.metaKey) || event.key !== "Enter") return;
      event.preventDefault();
      event.stopPropagation();
      latest.current();
    }
    // Before the editor takes the key for a new line.
    window.addEventListener("keydown", press, true);
    return () => window.removeEventListener("keydown", press, true);
  }, [active]);
}
