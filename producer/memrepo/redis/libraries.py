"""Celery and redis-py, imported whole at first use, and never half when the process forks.

A child that is forked off while a thread imports a module can never import it: the import's lock is held for ever by a
thread that the child does not have. (Worse than never: a thread of the child may have the number of the one that is
gone, is let in, and finds half a module. Kombu, which met that, believed that there is no redis-py.) So all that our
threads would import by and by is imported at once, and a fork waits for the end of that (0.2 s, once in a process).
Kombu's cached properties have such locks, too, one for all objects of a class: a child gets new ones.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property  # noqa: TID251 - Celery's are looked for
from importlib import import_module
from typing import Any

REDIS = (
    *("redis", "redis.backoff", "redis.retry", "redis.sentinel", "encodings.idna"),
    "email.parser",  # for redis-py's version, which it tells the server, and for which kombu asks in its import
)
CELERY = (
    *REDIS,
    *("celery", "celery.app.amqp", "celery.app.control", "celery.app.events", "celery.app.task"),
    *("celery.backends.base", "celery.canvas", "celery.events"),
    *("celery.result", "celery.states", "kombu.entity", "kombu.messaging", "kombu.transport.redis"),
    "kombu.utils.limits",
    *("memrepo.redis.celery_app", "memrepo.redis.transport"),
)
"""What sending and listening use, also where Celery and kombu import it late by themselves; a test compares."""

FORK_WAITS_MAX_S = 10.0


class _Imports:
    """The lock that an import of ours holds, and a fork."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forking = False
        self._done: set[Sequence[str]] = set()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._before_fork, after_in_parent=self._after_fork, after_in_child=self._in_child
            )

    def run(self, names: Sequence[str]) -> None:
        if names in self._done:
            return
        with self._lock:
            for name in names:
                with suppress(ImportError):  # whoever needs it says so
                    import_module(name)
            self._done.add(names)

    def _before_fork(self) -> None:
        self._forking = self._lock.acquire(timeout=FORK_WAITS_MAX_S)

    def _after_fork(self) -> None:
        if self._forking:
            self._lock.release()
        self._forking = False

    def _in_child(self) -> None:
        self._after_fork()
        for attribute in _cached_properties():
            attribute.lock = threading.RLock()


def _cached_properties() -> Iterator[Any]:
    """Return those of Celery's and kombu's classes: each may be held by a thread that the child does not have."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in ("celery", "kombu"):
            # By type(), as isinstance() would ask Celery's proxies, which make a default app then.
            for kind in [one for one in vars(module).values() if issubclass(type(one), type)]:
                yield from (one for one in vars(kind).values() if issubclass(type(one), cached_property))


_imports = _Imports()


def import_redis() -> None:
    """Import what listening uses, unless that was done."""
    _imports.run(REDIS)


def import_celery() -> None:
    """Import what sending uses, unless that was done."""
    _imports.run(CELERY)
