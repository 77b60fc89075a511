"""The floor of uploads and downloads: a thread for each connection, blocking calls, no metadata.

python -m bench.floor_files PORT FOLDER. GET sends a file with one sendfile after the other. PUT
writes the body to a file of its own, syncs it, renames it into its place and syncs the folder.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from pathlib import Path

RECEIVE_BYTES = 256 * 1024
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n"


def main(port: int, folder: Path) -> None:
    (folder / ".partial").mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", port), backlog=512) as server:
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_serve, args=(connection, folder), daemon=True).start()


def _serve(connection: socket.socket, folder: Path) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection:
        rest = b""
        while True:
            while b"\r\n\r\n" not in rest:
                data = connection.recv(RECEIVE_BYTES)
                if not data:
                    return
                rest += data
            head, _, rest = rest.partition(b"\r\n\r\n")
            method, target, _ = head.split(b" ", 2)
            file = folder / target.decode().rpartition("/")[2]
            if method == b"PUT":
                rest = _take(connection, head, rest, file)
            else:
                _send(connection, file)


def _send(connection: socket.socket, file: Path) -> None:
    try:
        descriptor = os.open(file, os.O_RDONLY)
    except OSError:
        connection.sendall(_ANSWER % 0)
        return
    try:
        size = os.fstat(descriptor).st_size
        connection.sendall(_ANSWER % size, socket.MSG_MORE if size else 0)
        sent = 0
        while sent < size:
            sent += os.sendfile(connection.fileno(), descriptor, sent, size - sent)
    finally:
        os.close(descriptor)


def _take(connection: socket.socket, head: bytes, rest: bytes, file: Path) -> bytes:
    size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    partial = file.parent / ".partial" / f"{file.name}-{threading.get_ident()}"
    with partial.open("wb", buffering=0) as out:
        part, rest = rest[:size], rest[size:]
        while part:
            out.write(part)
            size -= len(part)
            part = connection.recv(min(size, RECEIVE_BYTES)) if size else b""
        os.fsync(out.fileno())
    partial.rename(file)
    descriptor = os.open(file.parent, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    connection.sendall(_ANSWER % 0)
    return rest


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
