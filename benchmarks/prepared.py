"""Requests that are made before anything is measured, and then only pushed: their sender takes no core from others.

A client that makes a thousand commits, or compresses 28 MiB, takes a core for a second. Elsewhere that is another
machine's; here it is one of the two that the worker has, and what it does to the healthy agents is not the worker's
doing. So requests are made by the public client on a database of the broker that nobody serves, and taken from there:
the messages as they are, the large bodies by ``MOVE``. Their answers are counted as they are announced.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import redis

from memrepo import MemoryRepos, Settings
from memrepo.routing import queue_names
from memrepo.wire.keys import payload_key
from memrepo.wire.payload_store import request_payload
from tests.support.valkey import Valkey

_ENDED = re.compile(rb'"status": ?"(SUCCESS|FAILURE|REVOKED)"')
_HEAD_BYTES = 500
GIB = 1024**3

ASIDE = 255
"""The database on which requests are made."""


@dataclass
class Database(Valkey):
    """One database of a server that runs already."""

    number: int = 0

    @property
    def url(self) -> str:
        """Its address."""
        return self.database(self.number)

    def client(self, database: int | None = None) -> redis.Redis:
        """Return a client that gives text."""
        return super().client(self.number if database is None else database)

    def raw_client(self, database: int | None = None) -> redis.Redis:
        """Return a client that gives bytes."""
        return super().raw_client(self.number if database is None else database)


def makers_settings(settings: Settings, aside: Database) -> Settings:
    """Return the settings of the client that makes them, of which many wait there at once."""
    return replace(settings, broker_url=aside.url, result_url=aside.url, bodies_bytes_max=4 * GIB)


@dataclass
class Round:
    """What is sent at once: messages by queue in the order in which they were enqueued, and names of large bodies."""

    messages: list[tuple[str, bytes]] = field(default_factory=list)
    payloads: list[str] = field(default_factory=list)


class PreparedRounds:
    """Rounds of one load, made on ``aside``, a database of the same server that no worker serves."""

    def __init__(self, aside: Valkey, number: int, shards: int) -> None:
        self._aside = aside
        self._number = number
        self._queues = queue_names(shards)
        self._rounds: list[Round] = []

    def make(self, number: int, ask: Callable[[MemoryRepos], None], settings: Settings) -> None:
        """Make so many rounds, by what asks for one of a client's requests and waits for no answer."""
        with self._aside.raw_client() as client:
            client.flushdb()
            for _ in range(number):
                with MemoryRepos(settings=settings) as repos:
                    ask(repos)
                self._rounds.append(self._taken(client))

    def send(self, note: Callable[[], None], wait_s: float) -> None:
        """Send the next round, and note each answer; nothing where none is left."""
        if not self._rounds:
            return
        one = self._rounds.pop(0)
        with (
            self._aside.raw_client() as aside,
            self._aside.raw_client(self._number) as client,
            client.pubsub() as replies,
        ):
            replies.subscribe(*{_reply_channel(raw) for _, raw in one.messages})
            for name in one.payloads:
                aside.move(payload_key(name), self._number)
            pipeline = client.pipeline(transaction=False)
            for queue, raw in one.messages:
                pipeline.lpush(queue, raw)
            pipeline.execute()
            _hear(replies, len(one.messages), note, time.monotonic() + wait_s)

    def _taken(self, client: redis.Redis) -> Round:
        """Take the messages out of their queues; bodies stay until they are sent."""
        one = Round()
        for queue in self._queues:
            waiting: Any = client.lrange(queue, 0, -1)
            client.delete(queue)
            one.messages += [(queue, raw) for raw in reversed(waiting)]
        names = [request_payload(json.loads(raw)["headers"]["id"]) for _, raw in one.messages]
        one.payloads = [name for name in names if client.exists(payload_key(name))]
        for key in client.scan_iter("memrepo:depth:*"):
            client.delete(key)
        return one


def _reply_channel(raw: bytes) -> str:
    channel: str = json.loads(raw)["properties"]["reply_to"]
    return channel


def _hear(replies: redis.client.PubSub, left: int, note: Callable[[], None], until_s: float) -> None:
    while left and time.monotonic() < until_s:
        heard = replies.get_message(timeout=0.5)
        if heard is not None and heard["type"] == "message" and _ENDED.search(heard["data"][:_HEAD_BYTES]):
            note()
            left -= 1
