import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ListenConnection } from "./connection";

vi.mock("./session", () => ({
  currentToken: () => "token",
  expireSession: () => undefined,
  subscribeSession: () => () => undefined,
}));

class Socket {
  static readonly CONNECTING = 0;
  static readonly OPEN = 1;
  static last: Socket;
  readyState = Socket.CONNECTING;
  sent: string[] = [];
  closed = 0;
  onopen: () => void = () => undefined;

  constructor() {
    Socket.last = this;
  }

  send(text: string): void {
    this.sent.push(text);
  }

  close(): void {
    this.closed += 1;
  }

  open(): void {
    this.readyState = Socket.OPEN;
    this.onopen();
  }
}

beforeEach(() => {
  vi.stubGlobal("WebSocket", Socket);
  vi.stubGlobal("location", { protocol: "http:", host: "localhost" });
  vi.stubGlobal("window", new EventTarget());
});

afterEach(() => {
  vi.unstubAllGlobals();
});

function started(): [ListenConnection, Socket] {
  const connection = new ListenConnection("demo", "(default)");
  connection.start();
  return [connection, Socket.last];
}

test("a socket that is left while it connects is closed when it has, and is told nothing", () => {
  const [connection, socket] = started();
  connection.close();
  expect(socket.closed).toBe(0); // a browser complains of that in its log
  socket.open();
  expect([socket.closed, socket.sent]).toEqual([1, []]);
});

test("one that is open is greeted, and closed at once", () => {
  const [connection, socket] = started();
  socket.open();
  expect(socket.sent).toHaveLength(1);
  connection.close();
  expect(socket.closed).toBe(1);
});
