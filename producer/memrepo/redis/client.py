"""Connecting to Redis, and finding out early what no waiting can mend: a port that speaks TLS, or speaks none."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from memrepo.redis.address import RedisUrl
from memrepo.redis.errors import LOST, TOO_OLD, WANTS_TLS, Meaning, WrongModeError, meaning_of, refuse_mode
from memrepo.redis.reconnecting import reconnecting

if TYPE_CHECKING:
    from redis import Redis
    from redis.connection import AbstractConnection

PROBE_TIMEOUT_S = 0.4
"""How long a port may take to show what it speaks; a slower one is taken at its word."""


def connect(
    url: RedisUrl,
    *,
    connect_timeout_s: float,
    timeout_s: float,
    retries: int = 0,
    on_accepted: Callable[[], None] | None = None,
) -> Redis:
    """Return a client that waits for nothing without end; it connects when it is first used.

    ``retries`` are of connections that are refused or lost, not of silence: that would take as long again.
    ``on_accepted`` is called when a connection is made, before the server has answered to anything; not together with
    ``retries``, as redis-py would begin again and again then.

    Raises:
        ssl.SSLError: the address is one of TLS, and the port answers without.
        ImportError: redis-py is not installed.
    """
    from redis import Redis  # noqa: PLC0415 - `import memrepo` stays light
    from redis.backoff import NoBackoff  # noqa: PLC0415 - likewise
    from redis.exceptions import ConnectionError as RedisConnectionError  # noqa: PLC0415 - likewise
    from redis.retry import Retry  # noqa: PLC0415 - likewise

    refuse_plain_port(url)
    options = url.for_redis
    if on_accepted is not None:
        options["redis_connect_func"] = partial(_greet, on_accepted)
    client = Redis(
        **options,
        socket_connect_timeout=connect_timeout_s,
        socket_timeout=timeout_s,
        socket_keepalive=True,
        health_check_interval=10,
        retry=Retry(NoBackoff(), retries, supported_errors=(RedisConnectionError,)),
    )
    return reconnecting(client, url)


def _greet(on_accepted: Callable[[], None], connection: AbstractConnection) -> None:
    """Say that the connection is made, and do what redis-py does then."""
    on_accepted()
    connection.on_connect()


def refuse_plain_port(url: RedisUrl) -> None:
    """Find out whether an address of TLS leads to a port that speaks none.

    A Redis without TLS takes its greeting for the begin of a line and waits for the rest: no error would ever come.

    Raises:
        ssl.SSLError: it does.
    """
    if url.tls is not None and not url.sentinels and _shakes_hands(url) is False and _answers_in_plain(url):
        raise ssl.SSLError(ssl.SSLErrorNumber.SSL_ERROR_SSL, "the port answers without TLS")


def understand(error: BaseException, url: RedisUrl) -> Meaning:
    """Return what an error means that a new connection to an address met; ask the port where the error says too little.

    A port that speaks TLS ends a connection that does not, without a word. A Sentinel knows hardly a command, and which
    one it was asked first is chance.
    """
    meaning = meaning_of(error)
    if meaning.is_(TOO_OLD):
        return _of_wrong_mode(url) or meaning
    if meaning.is_(LOST) and url.tls is None and not url.path and not url.sentinels and _shakes_hands(url):
        return replace(meaning, row=WANTS_TLS)
    return meaning


def _of_wrong_mode(url: RedisUrl) -> Meaning | None:
    try:
        with connect(url, connect_timeout_s=PROBE_TIMEOUT_S, timeout_s=PROBE_TIMEOUT_S) as client:
            refuse_mode(client.execute_command("HELLO"))
    except WrongModeError as wrong:
        return meaning_of(wrong)
    except Exception:  # noqa: BLE001 - what it says says no more than the error that is to be understood
        return None
    return None


def _shakes_hands(url: RedisUrl) -> bool | None:
    """Tell whether a port speaks TLS, whoever it is; None where nobody listens."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is said on this connection
    try:
        plain = socket.create_connection((url.host, url.port), PROBE_TIMEOUT_S)
    except OSError:
        return None
    with plain:
        try:
            context.wrap_socket(plain, server_hostname=url.host).close()
        except (OSError, ValueError):
            return False
    return True


def _answers_in_plain(url: RedisUrl) -> bool:
    """Tell whether a port speaks Redis without TLS."""
    with suppress(OSError), socket.create_connection((url.host, url.port), PROBE_TIMEOUT_S) as plain:
        plain.sendall(b"PING\r\n")
        return plain.recv(1)[:1] in (b"+", b"-")
    return False
