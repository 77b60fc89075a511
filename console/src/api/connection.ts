/** Moves the listen protocol's messages over a WebSocket, and comes back when the line is lost. */

import type { JsonObject } from "../model/json";
import { listenAddress } from "./documents";
import { ListenProtocol, type ServerError, type TargetSpec, type TargetState } from "./listen";
import { currentToken, expireSession, subscribeSession } from "./session";

export type ConnectionStatus =
  { status: "connecting" } | { status: "live" } | { status: "offline"; error: ServerError | null };

const RETRY_FIRST_MS = 400;
const RETRY_MOST_MS = 15_000;

export class ListenConnection {
  readonly #protocol = new ListenProtocol(currentToken);
  readonly #watchers = new Map<number, () => void>();
  readonly #statusWatchers = new Set<() => void>();
  readonly #address: string;
  #socket: WebSocket | null = null;
  #status: ConnectionStatus = { status: "connecting" };
  #failures = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #pings: ReturnType<typeof setInterval> | undefined;
  #heard = 0;
  #open = false;
  #dropSession: () => void = () => undefined;

  constructor(project: string, database: string) {
    this.#address = listenAddress(project, database);
  }

  /** Connects, and stays connected until `close`. */
  start(): void {
    this.#open = true;
    window.addEventListener("online", this.#reconnectNow);
    // A new sign-in gives a new token.
    this.#dropSession = subscribeSession(this.#reconnectNow);
    this.#connect();
  }

  close(): void {
    this.#open = false;
    window.removeEventListener("online", this.#reconnectNow);
    this.#dropSession();
    this.#drop();
    this.#protocol.closed();
  }

  get status(): ConnectionStatus {
    return this.#status;
  }

  watchStatus(watcher: () => void): () => void {
    this.#statusWatchers.add(watcher);
    return () => this.#statusWatchers.delete(watcher);
  }

  /** Listens until the returned function is called. */
  listen(spec: TargetSpec, watcher: (state: TargetState) => void): () => void {
    const { target, send } = this.#protocol.listen(spec);
    this.#watchers.set(target, () => watcher(this.#protocol.state(target)));
    this.#send(send);
    return () => {
      this.#watchers.delete(target);
      this.#send(this.#protocol.unlisten(target));
    };
  }

  readonly #reconnectNow = (): void => {
    if (!this.#open || this.#status.status === "live") return;
    this.#drop();
    this.#connect();
  };

  #connect(): void {
    clearTimeout(this.#retry);
    if (currentToken() === null) {
      this.#setStatus({ status: "offline", error: null });
      return;
    }
    const socket = new WebSocket(this.#address);
    this.#socket = socket;
    socket.onopen = () => this.#send(this.#protocol.opened());
    socket.onmessage = (event) => {
      if (socket === this.#socket) this.#receive(String(event.data));
    };
    socket.onclose = () => {
      if (socket === this.#socket) this.#lost(null);
    };
  }

  #receive(data: string): void {
    this.#heard = Date.now();
    const outcome = this.#protocol.receive(JSON.parse(data) as JsonObject);
    if (outcome.fatal !== null) {
      const token = currentToken();
      if (outcome.fatal.code === "UNAUTHENTICATED" && token !== null) expireSession(token);
      this.#lost(outcome.fatal);
      return;
    }
    if (outcome.welcomed !== null) {
      this.#setStatus({ status: "live" });
      this.#startPings(outcome.welcomed.pingSeconds * 1000);
    }
    // Not at the welcome: a server that then refuses what we say must not be asked in a hurry.
    if (outcome.changed.length > 0) this.#failures = 0;
    this.#send(outcome.send);
    for (const target of outcome.changed) this.#watchers.get(target)?.();
  }

  #startPings(every: number): void {
    clearInterval(this.#pings);
    this.#pings = setInterval(() => {
      if (Date.now() - this.#heard > every * 2.5) this.#lost(null);
      else this.#send([{ type: "ping" }]);
    }, every);
  }

  #lost(error: ServerError | null): void {
    this.#drop();
    this.#protocol.closed();
    this.#setStatus({ status: "offline", error });
    if (!this.#open) return;
    const most = Math.min(RETRY_MOST_MS, RETRY_FIRST_MS * 2 ** this.#failures++);
    this.#retry = setTimeout(() => this.#connect(), most * (0.5 + Math.random() / 2));
  }

  #drop(): void {
    clearTimeout(this.#retry);
    clearInterval(this.#pings);
    const socket = this.#socket;
    this.#socket = null;
    // Closed while it connects, it would leave an error in the browser's log.
    if (socket?.readyState === WebSocket.CONNECTING) socket.onopen = () => socket.close();
    else socket?.close();
  }

  #send(messages: JsonObject[]): void {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    for (const message of messages) this.#socket.send(JSON.stringify(message));
  }

  #setStatus(status: ConnectionStatus): void {
    this.#status = status;
    for (const watcher of this.#statusWatchers) watcher();
  }
}
