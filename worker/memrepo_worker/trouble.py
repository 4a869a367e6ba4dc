"""Trouble that lasts, told calmly: when it begins, when its cause is another, now and then, and when it is over."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from memrepo.clock import Clock, steady_clock, system_clock
from memrepo.wording import counted
from memrepo_worker.group import Agent
from memrepo_worker.logs import escaped, log

TELL_EVERY_S = 30.0
_CAUSES_MAX = 4
"""So many causes of one trouble are told at once within ``TELL_EVERY_S``: several may come by turns."""
_AGENTS_NAMED_MAX = 3


@dataclass
class LastingTrouble:
    """One kind of trouble. Thread-safe.

    Its lines are warnings, the last one too: who heard of the beginning hears of the end. In JSON they are ``event``
    and, at the end, ``event`` + ``.over``, with ``reason`` and ``lasted_s``. A ``fault`` of ours is an error, and told
    with where it came from; of other trouble that is told at level DEBUG alone.
    """

    logger: logging.Logger
    event: str
    every_s: float = TELL_EVERY_S
    clock: Clock = steady_clock
    fault: bool = False
    _reason: str = ""
    _is_there: bool = False
    _began_s: float = 0.0
    _told_s: float = 0.0
    _told: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_there(self) -> bool:
        """Whether it was met, and is not over."""
        return self._is_there

    def met(
        self,
        reason: str,
        detail: str = "",
        fields: Mapping[str, object] | None = None,
        cause: BaseException | None = None,
    ) -> None:
        """Note that it is there (still).

        ``reason`` is what it is, and what is told again at its end; ``detail`` what it means just now.
        """
        lasted_s = self._due(reason)
        if lasted_s is None:
            return
        message = reason if not lasted_s else f"{reason} (for {lasted_s:.0f} s now)"
        whole = {"reason": reason, "lasted_s": lasted_s, **(fields or {})}
        cause = cause if self.fault or self.logger.isEnabledFor(logging.DEBUG) else None
        self._tell(self.event, f"{message}; {detail}" if detail else message, whole, cause)

    def over(self) -> None:
        """Note that it is not there, or not any more."""
        if not self._is_there or not self._ends():  # mostly the former: no need to wait for others
            return
        lasted_s = round(self.clock() - self._began_s, 3)
        message = f"over after {lasted_s:.1f} s: {self._reason}"
        fields = {"reason": self._reason, "lasted_s": lasted_s}
        self._tell(f"{self.event}.over", message, fields, None)

    def _ends(self) -> bool:
        """Note that it is over, and return whether it was there."""
        with self._lock:
            was_there, self._is_there = self._is_there, False
            return was_there

    def _due(self, reason: str) -> float | None:
        """Note the time, and return how long it has lasted if that is to be told now: 0 at its beginning."""
        now_s = self.clock()
        with self._lock:
            self._reason = reason
            if not self._is_there:
                self._is_there, self._began_s = True, now_s
            elif now_s - self._told_s < self.every_s:
                if reason in self._told or len(self._told) >= _CAUSES_MAX:
                    return None
                self._told.add(reason)
                return round(now_s - self._began_s, 3)
            self._told_s, self._told = now_s, {reason}
            return round(now_s - self._began_s, 3)

    def _tell(
        self, event: str, message: str, fields: Mapping[str, object], cause: BaseException | None
    ) -> None:
        log(self.logger, logging.ERROR if self.fault else logging.WARNING, event, message, fields, cause)


@dataclass(frozen=True, slots=True)
class WaitReason:
    """Why an agent's requests wait for the store, and since when (in seconds since 1970-01-01 UTC)."""

    reason: str
    since_s: float


@dataclass
class _Waiters:
    """The agents that wait for one reason, and how many requests of each."""

    trouble: LastingTrouble
    requests: dict[Agent, int] = field(default_factory=dict)

    def detail(self, agent: Agent, next_try_s: float) -> str:
        """Say who waits, and when the one is served next that has just met it."""
        count = sum(self.requests.values())
        others = [other for other in self.requests if other != agent]
        named = ", ".join(map(str, (agent, *others[: _AGENTS_NAMED_MAX - 1])))
        more = len(others) - _AGENTS_NAMED_MAX + 1
        whose = f"{named} and {more} more" if more > 0 else named
        wait = "waits" if count == 1 else "wait"
        return f"{counted(count, 'request')} of {whose} {wait}, next try in {next_try_s:.1f} s"


class StoreTrouble:
    """What keeps which agents' requests from the store. Thread-safe.

    Agents that wait for the same reason share its lines: a store that is down is told of once, not per agent and try.
    """

    def __init__(
        self,
        logger: logging.Logger,
        *,
        every_s: float = TELL_EVERY_S,
        clock: Clock = system_clock,
        steady: Clock = steady_clock,
    ) -> None:
        self._logger = logger
        self._every_s = every_s
        self._clock = clock
        self._steady = steady
        self._lock = threading.Lock()
        self._waiting: dict[Agent, WaitReason] = {}
        self._waiters: dict[str, _Waiters] = {}

    def met(self, agent: Agent, requests: int, error: Exception, next_try_s: float) -> WaitReason:
        """Note that a try for an agent's requests failed, and return what they wait for."""
        reason = escaped(str(error))
        with self._lock:
            before = self._waiting.get(agent)
            if before is not None and before.reason != reason:
                self._leave(agent, before.reason, answered=False)
            waiting = WaitReason(reason, before.since_s if before is not None else self._clock())
            self._waiting[agent] = waiting
            waiters = self._waiters.get(reason)
            if waiters is None:
                trouble = LastingTrouble(self._logger, "store.trouble", self._every_s, self._steady)
                waiters = self._waiters[reason] = _Waiters(trouble)
            waiters.requests[agent] = requests
            waiters.trouble.met(
                reason,
                waiters.detail(agent, next_try_s),
                {
                    "error": type(error).__name__,
                    "agent": str(agent),
                    "agents": len(waiters.requests),
                    "requests": sum(waiters.requests.values()),
                    "next_try_s": round(next_try_s, 3),
                },
                error,
            )
        return waiting

    def over(self, agent: Agent, *, answered: bool = True) -> None:
        """Note that the agent's requests wait no longer; ``answered``: since the store did its part."""
        if not self._waiting:
            return
        with self._lock:
            before = self._waiting.pop(agent, None)
            if before is not None:
                self._leave(agent, before.reason, answered=answered)

    def _leave(self, agent: Agent, reason: str, *, answered: bool) -> None:
        waiters = self._waiters[reason]
        del waiters.requests[agent]
        if not waiters.requests:
            del self._waiters[reason]
            if answered:
                waiters.trouble.over()
