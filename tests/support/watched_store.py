"""A store that tells what came when, and does what a test wants while its answer is waited for."""

from __future__ import annotations

import math
from collections.abc import Callable

from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.interface import Version, When
from memrepo_worker.store.meanwhile import request_sent


class WatchedStore(MemoryStore):
    """``seen`` says which puts were made, among what a test adds, in order.

    When a put was sent, its answer is waited for, and there after so many looks as ``looks`` says; then, before it is
    made, comes what ``meanwhile`` has.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.looks = math.inf
        self.meanwhile: list[Callable[[], object]] = []

    def put(self, key: str, data: bytes, when: When) -> Version:
        looks = self.looks

        def is_answered() -> bool:
            nonlocal looks
            looks -= 1
            return looks < 0

        request_sent(is_answered)
        if self.meanwhile:
            self.meanwhile.pop()()
        version = super().put(key, data, when)
        self.seen.append("put")
        return version
