import { describe, expect, test } from "vitest";
import type { JsonObject } from "../model/json";
import { ListenProtocol } from "./listen";

function doc(path: string, n: number): JsonObject {
  return { path, fields: { n }, create_time: "c", update_time: `u${n}` };
}

function change(
  kind: string,
  oldIndex: number,
  newIndex: number,
  document: JsonObject,
): JsonObject {
  return { kind, old_index: oldIndex, new_index: newIndex, document };
}

function snapshot(changes: JsonObject[], more: JsonObject = {}): JsonObject {
  return {
    type: "snapshot",
    target: 1,
    version: 1,
    read_time: "t",
    resume_token: "r1",
    reset: false,
    final: true,
    changes,
    ...more,
  };
}

const WELCOME: JsonObject = { type: "welcome", ping_seconds: 20 };

function started(): ListenProtocol {
  const protocol = new ListenProtocol(() => "secret");
  protocol.listen({ query: { collection: "c" } });
  protocol.opened();
  protocol.receive(WELCOME);
  return protocol;
}

function shown(protocol: ListenProtocol): string[] {
  const state = protocol.state(1);
  return state.status === "live" ? state.documents.map((item) => item.path) : [];
}

const AB = [change("added", -1, 0, doc("c/a", 1)), change("added", -1, 1, doc("c/b", 2))];

describe("the listen protocol", () => {
  test("says hello with the token, and listens only after the welcome", () => {
    const protocol = new ListenProtocol(() => "secret");
    expect(protocol.listen({ query: { collection: "c" } }).send).toEqual([]);
    expect(protocol.opened()).toEqual([{ type: "hello", token: "secret", api_key: null }]);
    const outcome = protocol.receive(WELCOME);
    expect(outcome.welcomed).toEqual({ pingSeconds: 20 });
    expect(outcome.send).toEqual([{ type: "listen", target: 1, query: { collection: "c" } }]);
    expect(protocol.listen({ documents: ["c/a"] }).send).toEqual([
      { type: "listen", target: 2, documents: ["c/a"] },
    ]);
  });

  test("applies changes in order", () => {
    const protocol = started();
    expect(protocol.receive(snapshot(AB)).changed).toEqual([1]);
    expect(shown(protocol)).toEqual(["c/a", "c/b"]);
    protocol.receive(
      snapshot([
        change("removed", 0, -1, doc("c/a", 1)),
        change("modified", 0, 0, doc("c/b", 3)),
        change("added", -1, 0, doc("c/0", 0)),
      ]),
    );
    expect(shown(protocol)).toEqual(["c/0", "c/b"]);
    const state = protocol.state(1);
    expect(state.status === "live" && [...state.changed]).toEqual(["c/b", "c/0"]);
  });

  test("the first snapshot marks nothing as news, and an empty one is live", () => {
    const protocol = started();
    expect(protocol.receive(snapshot([], { reset: true })).changed).toEqual([1]);
    const state = protocol.state(1);
    expect(state).toMatchObject({ status: "live", documents: [] });
    expect(state.status === "live" && state.changed.size).toBe(0);
  });

  test("shows a snapshot in parts only when its last part is there", () => {
    const protocol = started();
    expect(protocol.receive(snapshot([AB[0] as JsonObject], { final: false })).changed).toEqual([]);
    expect(protocol.state(1).status).toBe("waiting");
    protocol.receive(snapshot([AB[1] as JsonObject]));
    expect(shown(protocol)).toEqual(["c/a", "c/b"]);
  });

  test("resumes after a lost connection, forgetting half a snapshot", () => {
    const protocol = started();
    protocol.receive(snapshot(AB));
    protocol.receive(
      snapshot([change("removed", 0, -1, doc("c/a", 1))], {
        final: false,
        resume_token: undefined as never,
      }),
    );
    protocol.closed();
    expect(shown(protocol)).toEqual(["c/a", "c/b"]);
    protocol.opened();
    expect(protocol.receive(WELCOME).send).toEqual([
      { type: "listen", target: 1, query: { collection: "c" }, resume_token: "r1" },
    ]);
    protocol.receive(snapshot([change("removed", 1, -1, doc("c/b", 2))], { resume_token: "r2" }));
    expect(shown(protocol)).toEqual(["c/a"]);
  });

  test("a reset replaces everything", () => {
    const protocol = started();
    protocol.receive(snapshot(AB));
    protocol.receive(snapshot([change("added", -1, 0, doc("c/z", 9))], { reset: true }));
    expect(shown(protocol)).toEqual(["c/z"]);
  });

  test("changes that cannot be are answered by asking for everything anew", () => {
    const protocol = started();
    protocol.receive(snapshot(AB));
    const outcome = protocol.receive(snapshot([change("removed", 1, -1, doc("c/a", 1))]));
    expect(outcome.send).toEqual([
      { type: "unlisten", target: 1 },
      { type: "listen", target: 1, query: { collection: "c" } },
    ]);
    protocol.receive(snapshot(AB, { reset: true }));
    expect(shown(protocol)).toEqual(["c/a", "c/b"]);
  });

  test("a refused target has failed, and is not asked for again", () => {
    const protocol = started();
    const error = { code: "PERMISSION_DENIED", reason: "PermissionDenied", message: "no" };
    expect(protocol.receive({ type: "removed", target: 1, error }).changed).toEqual([1]);
    expect(protocol.state(1)).toEqual({ status: "failed", error });
    protocol.closed();
    protocol.opened();
    expect(protocol.receive(WELCOME).send).toEqual([]);
  });

  test("snapshots of dropped targets and unknown messages are ignored", () => {
    const protocol = started();
    expect(protocol.unlisten(1)).toEqual([{ type: "unlisten", target: 1 }]);
    expect(protocol.unlisten(1)).toEqual([]);
    expect(protocol.receive(snapshot(AB)).changed).toEqual([]);
    expect(protocol.receive({ type: "novelty" }).send).toEqual([]);
    expect(protocol.receive({ type: "error", error: null }).fatal?.code).toBe("UNKNOWN");
  });
});
