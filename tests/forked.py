"""A command forked by a nursery, as if this process were it: same files, signals, exit status.

python -IS tests/forked.py SOCKET ARGUMENT…
"""

import json
import os
import signal
import socket
import sys
from types import FrameType


def main() -> None:
    with socket.socket(socket.AF_UNIX) as nursery:
        nursery.connect(sys.argv[1])
        asked = {"arguments": sys.argv[2:], "folder": os.getcwd(), "environment": {**os.environ}}
        socket.send_fds(nursery, [json.dumps(asked).encode() + b"\n"], [0, 1, 2])
        with nursery.makefile("r") as told:
            child = int(told.readline())

            def forward(which: int, _: FrameType | None) -> None:
                os.kill(child, which)

            for which in (signal.SIGINT, signal.SIGTERM):
                signal.signal(which, forward)
            code = int(told.readline())
    # By a signal: what a shell makes of it.
    sys.exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
