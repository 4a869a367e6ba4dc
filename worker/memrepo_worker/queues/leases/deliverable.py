"""Whether this process can take messages and answer them now: who finds out says so here, and the keeper asks."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from memrepo.redis.errors import LOGIN, RIGHTS, TOO_OLD, Meaning

DELIVERY, CONNECTION, ANSWERS, ASKED = "delivery", "connection", "answers", "rights that were asked for"
"""The parts that may meet something."""

_OF_THIS_WORKER = (LOGIN, RIGHTS, TOO_OLD)
"""What keeps this worker from serving, and mends itself by no waiting; another worker may do better."""


@dataclass(frozen=True, slots=True)
class Hindrance:
    """What is in the way; ``lasting``: somebody has to mend it."""

    reason: str
    lasting: bool


class Deliverable:
    """What is in the way of serving, by the part that has met it. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._met: dict[str, Hindrance] = {}

    @property
    def hindrance(self) -> Hindrance | None:
        """What is in the way, if anything: what lasts before what does not."""
        if not self._met:  # mostly
            return None
        with self._lock:
            return max(self._met.values(), key=lambda one: one.lasting, default=None)

    @property
    def answers(self) -> bool:
        """Whether what runs can be answered when it ends."""
        return ANSWERS not in self._met

    def meet(self, part: str, meaning: Meaning) -> bool:
        """Note what a part has met; return whether it lasts."""
        lasting = any(map(meaning.is_, _OF_THIS_WORKER))
        with self._lock:
            self._met[part] = Hindrance(meaning.reason, lasting)
        return lasting

    def clear(self, *parts: str) -> None:
        """Note that nothing is in these parts' way."""
        if self._met:
            with self._lock:
                for part in parts:
                    self._met.pop(part, None)
