"""Several processes that do the same, under one: started together, started again, ended together."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from memrepo.clock import Clock, steady_clock
from memrepo_worker.logs import log
from memrepo_worker.processes import Process

logger = logging.getLogger(__name__)

LIVED_S = 10.0
"""A process that lived longer had begun to serve: what it ended of is no fault of how it was started."""

PAUSE_S_MIN, PAUSE_S_MAX = 1.0, 30.0
"""Before a process is started again: the pause doubles while it keeps ending at once."""

HURRY = signal.SIGQUIT
"""What has a process that ends wait for nothing more: any signal to stop may have reached it from elsewhere, too."""

_LOOK_EVERY_S = 0.1
_KILL_AFTER_S = 10.0

Question = Callable[[], bool]


@dataclass
class Member:
    """One of the processes, by its number from 1; ``process`` is None while it waits to be started again."""

    number: int
    process: Process | None = None
    began_s: float = 0.0
    pause_s: float = 0.0
    start_at_s: float = 0.0


@dataclass
class Supervisor:
    """Keeps ``count`` processes running.

    ``start`` starts the one of a number. ``grace_s`` is how long they may take to end once they are asked to.
    """

    count: int
    start: Callable[[int], Process]
    grace_s: float
    clock: Clock = steady_clock
    sleep: Callable[[float], None] = time.sleep
    members: list[Member] = field(default_factory=list)
    _has_lived: bool = False

    def run(self, stopped: Question, hurried: Question) -> int:
        """Run until ``stopped``; then ask all to end, and wait for them, unless ``hurried``. Return the exit code.

        What cannot be started again just now is tried again later. Where one ends with an error before any has lived
        for ``LIVED_S``, the rest are ended and its code is returned: what keeps one of them from starting (a setting, a
        store that refuses) keeps all.
        """
        self.members = [Member(number) for number in range(1, self.count + 1)]
        code = 0
        try:
            while not stopped() and not code:
                code = max(self._tend(member) for member in self.members)
                self.sleep(_LOOK_EVERY_S)
        finally:
            ended = self._end(hurried)
        return code or ended

    def _tend(self, member: Member) -> int:
        """Start what is not running and is due; return with which code the whole is to end, 0 if it is not to."""
        now_s = self.clock()
        if member.process is None:
            return self._begin(member, now_s) if now_s >= member.start_at_s else 0
        code = member.process.poll()
        lived_s = now_s - member.began_s
        self._has_lived = self._has_lived or lived_s >= LIVED_S
        if code is None:
            return 0
        member.process = None
        if code > 0 and not self._has_lived:
            return code
        ended = f"process {member.number} ended with {code} after {lived_s:.0f} s"
        self._start_later(member, now_s, lived_s, ended, {"code": code})
        return 0

    def _begin(self, member: Member, now_s: float) -> int:
        """Start one, or later where the machine starts nothing just now, unless none has lived; return as ``_tend``."""
        try:
            member.process, member.began_s = self.start(member.number), now_s
        except OSError as error:
            failed = f"process {member.number} cannot be started: {error.strerror or type(error).__name__}"
            if not self._has_lived:
                log(logger, logging.ERROR, "supervisor.failed", failed, {"process": member.number})
                return 1
            self._start_later(member, now_s, 0.0, failed, {})
        return 0

    def _start_later(
        self, member: Member, now_s: float, lived_s: float, why: str, fields: Mapping[str, object]
    ) -> None:
        member.pause_s = (
            PAUSE_S_MIN if lived_s >= LIVED_S else min(PAUSE_S_MAX, member.pause_s * 2 or PAUSE_S_MIN)
        )
        member.start_at_s = now_s + member.pause_s
        message = f"{why}: started again in {member.pause_s:g} s"
        log(logger, logging.WARNING, "supervisor.ended", message, {"process": member.number, **fields})

    def _end(self, hurried: Question) -> int:
        """End all that run; return 0 where each ended in order, else the code of one that did not."""
        processes = [member.process for member in self.members if member.process is not None]
        _ask(processes, signal.SIGTERM)
        deadline_s = self.clock() + self.grace_s
        asked_twice = False
        while any(process.poll() is None for process in processes) and self.clock() < deadline_s:
            if hurried() and not asked_twice:
                asked_twice = True
                _ask(processes, HURRY)
                deadline_s = min(deadline_s, self.clock() + _KILL_AFTER_S)
            self.sleep(_LOOK_EVERY_S / 5)
        for process in processes:
            process.kill()
            process.wait()
        # One that had no time to hear of signals had none to take a request, either.
        codes = (process.returncode for process in processes)
        return max((abs(code) for code in codes if code not in (-signal.SIGTERM, -HURRY)), default=0)


def _ask(processes: Sequence[Process], number: signal.Signals) -> None:
    for process in processes:
        if process.poll() is None:
            process.send_signal(number)
