"""A socket left open tells where it was made."""

from __future__ import annotations

import socket


def test_a_socket_names_the_test_that_made_it() -> None:
    with socket.socket() as made:
        assert "test_a_socket_names_the_test_that_made_it" in repr(made)
        assert "test_sockets.py" in repr(made)
    a, b = socket.socketpair()
    with a, b:
        assert "socketpair" in repr(b)
