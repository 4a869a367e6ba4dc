"""What clients ask of a server, as the server itself tells: each command, and each that a script calls."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.ports import LOOPBACK
from tests.support.valkey import Valkey

_LINE = re.compile(rb"[\d.]+ \[\d+ (\S+)\] (.*)", re.DOTALL)
_WORD = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_WITH_SUBCOMMANDS = ("client", "script", "config", "acl", "command")
_ALL_ARE_PLACES = ("exists", "del", "mget", "subscribe", "unsubscribe", "psubscribe", "punsubscribe", "brpop")


@dataclass(frozen=True)
class Asked:
    """A command, and one key or channel that it was used on, or nothing."""

    command: str
    place: str


@dataclass
class Heard:
    """What was asked: by whoever came over a Unix socket, and over TCP; but not by one who came from ``left_out``."""

    left_out: str
    over_unix: set[Asked] = field(default_factory=set)
    over_tcp: set[Asked] = field(default_factory=set)
    _nobodys: set[Asked] = field(default_factory=set)
    _caller: set[Asked] = field(default_factory=set)
    """Who has called the script whose commands come now."""

    def take(self, line: bytes) -> None:
        """Take one line of ``MONITOR``."""
        found = _LINE.fullmatch(line)
        if found is None:
            return
        where = found[1].decode()
        if where == self.left_out:
            self._caller = self._nobodys
        elif where != "lua":
            self._caller = self.over_unix if where.startswith("unix:") else self.over_tcp
        self._caller.update(_asked([word.decode("latin-1") for word in _WORD.findall(found[2])]))


def _asked(words: list[str]) -> Iterator[Asked]:
    command, arguments = words[0].lower(), words[1:]
    if command in _WITH_SUBCOMMANDS and arguments:
        yield Asked(f"{command}|{arguments[0].lower()}", "")
    elif command in ("eval", "evalsha"):
        keys = arguments[2 : 2 + int(arguments[1])]
        yield from (Asked(command, key) for key in keys or [""])
    elif command in _ALL_ARE_PLACES:
        yield from (Asked(command, place) for place in arguments)
    else:
        yield Asked(command, arguments[0] if arguments else "")


@contextmanager
def monitored(server: Valkey, but: redis.Redis) -> Iterator[Heard]:
    """Hear what is asked of a server until the block ends, but not by this client, which has one connection."""
    heard = Heard(str(but.client_info()["addr"]))
    connection = redis.Connection(LOOPBACK, server.port, db=1, socket_timeout=60, retry=Retry(NoBackoff(), 0))
    connection.send_command("MONITOR")
    connection.read_response()

    over = threading.Event()

    def listen() -> None:
        while not over.is_set():
            heard.take(connection.read_response())

    with ThreadPoolExecutor(1, "monitor") as beside:
        listening = beside.submit(listen)
        try:
            yield heard
        finally:
            over.set()
            with server.client() as client:
                client.ping()  # so that there is something more to hear
        listening.result(timeout=20)
    connection.disconnect()
