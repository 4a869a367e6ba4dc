"""A small body goes with the head of its request: of two sends the first wakes the server, which then waits."""

from __future__ import annotations

import pytest
from urllib3.connection import HTTPConnection

from memrepo_worker.store.backends.time_limits import SENT_TOGETHER_BYTES_MAX, LimitedConnection

WHOLE, LARGE = b"a" * 3000, b"b" * (SENT_TOGETHER_BYTES_MAX + 1)


class Wire:
    """Stands for a socket, and notes what each send has."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def settimeout(self, _: object) -> None: ...

    def sendall(self, data: bytes) -> None:
        self.sent.append(bytes(data))


class Connection(LimitedConnection, HTTPConnection):
    """As the backends make them."""


def connected() -> tuple[Connection, Wire]:
    connection, wire = Connection("store.test"), Wire()
    connection.sock = wire
    return connection, wire


def put(connection: Connection, body: bytes | None, **headers: str) -> None:
    connection.request("PUT", "/key", body=body, headers=headers)


def test_a_small_body_goes_with_its_head() -> None:
    connection, wire = connected()

    put(connection, WHOLE)

    (sent,) = wire.sent
    head, body = sent.split(b"\r\n\r\n")
    assert head.startswith(b"PUT /key HTTP/1.1\r\n")
    assert body == WHOLE


@pytest.mark.parametrize("body", [None, b""])
def test_a_head_without_body_waits_for_none(body: bytes | None) -> None:
    connection, wire = connected()

    put(connection, body)

    (sent,) = wire.sent
    assert sent.endswith(b"\r\n\r\n")


def test_a_body_that_is_asked_for_first_does_not_go_before_that() -> None:
    connection, wire = connected()

    put(connection, WHOLE, Expect="100-continue")

    assert wire.sent[0].endswith(b"\r\n\r\n")
    assert wire.sent[1:] == [WHOLE]


def test_a_large_body_is_copied_to_no_head() -> None:
    connection, wire = connected()

    put(connection, LARGE)

    assert wire.sent[0].endswith(b"\r\n\r\n")
    assert b"".join(wire.sent[1:]) == LARGE


def test_a_head_that_never_went_is_in_no_later_request() -> None:
    connection, wire = connected()
    connection._waits_for_body, connection._head = True, b"PUT /lost HTTP/1.1\r\n\r\n"

    put(connection, None)

    (sent,) = wire.sent
    assert sent.startswith(b"PUT /key ")
