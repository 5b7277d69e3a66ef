"""Asking a server: whatever it answers, one of the errors that are said or nothing."""

import random
import socket
import threading

import pytest

from replication.download import NETWORK_ERRORS, ask

REPLIES = (
    b"", b"HTTP/1.1 200 OK\r\n\r\n", b"garbage", b"HTTP/1.1 302 F\r\nLocation: http://[::\r\n\r\n",
    b"HTTP/1.1 302 F\r\nLocation: file:///etc/passwd\r\n\r\n",
    b"HTTP/1.1 302 F\r\nLocation: http://s\x86&H", b"HTTP/1.1 302 F\r\nLocation: /\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 5000, b"HTTP/1.1 200 " + b"x" * 200_000,
    b"HTTP/1.1 404 gone\r\n\r\n", b"HTTP/1.1 99999 x\r\n\r\n",
)  # fmt: skip


@pytest.fixture
def server():
    """A server on this machine that gives the replies of a list, one after the other."""
    replies: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    asked, _ = listening.accept()
                except OSError:
                    return
                with asked:
                    try:
                        asked.recv(9999)
                        asked.sendall(replies[-1])
                    except OSError:
                        pass

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/", replies


def test_whatever_a_server_answers_ends_soon_and_in_an_error_that_is_said(server, monkeypatch):
    url, replies = server
    strays = []
    monkeypatch.setattr(threading, "excepthook", lambda args: strays.append(args.exc_value))
    rng, answered, refused = random.Random(0), 0, 0
    for number in range(80):
        if number < len(REPLIES):
            replies.append(REPLIES[number])
        else:
            start = rng.choice(REPLIES)
            replies.append(start[: rng.randrange(1, 60)] + rng.randbytes(rng.randrange(30)))
        try:
            ask(url, 20)
            answered += 1
        except TimeoutError:
            pytest.fail(f"no answer after {replies[-1]!r}")
        except NETWORK_ERRORS:
            refused += 1
    assert not strays and answered and refused


def test_a_server_that_says_nothing_is_given_up(server):
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(TimeoutError):
        ask(f"http://127.0.0.1:{silent.getsockname()[1]}/", 0.2)
