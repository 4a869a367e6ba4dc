"""The one background worker of upkeep in a worker process: what keeps memories quick with age, beside the requests.

Jobs run one at a time, in a thread of their own. None is needed for what is right: one that fails, or is never run,
leaves a memory as it was, only slower. So trouble in a job is logged and counted, and ends nothing but that job. What
the machine lacks, many jobs lack: that is told as one trouble that lasts, and when it is over. So it is once a job is
done that had met it: another may need less of the machine. One that has met it and is not asked for any more would keep
that from ever being told, so after an hour it counts no more.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from memrepo.clock import Clock, steady_clock
from memrepo_worker.bounds import SharingBounds
from memrepo_worker.git.command import Git
from memrepo_worker.group import Agent
from memrepo_worker.logs import log
from memrepo_worker.observe import Observer
from memrepo_worker.threads.beginning import begin_thread
from memrepo_worker.threads.giving_way import Pace, keeping
from memrepo_worker.trouble import LastingTrouble

logger = logging.getLogger(__name__)

JOBS_MAX = 10_000
"""How many jobs may wait; one beyond is not taken."""

TROUBLED_S_MAX = 3600.0
"""How long trouble of the machine that a job has met lasts, though others are done, where that job is not run again."""

_GIT_TIMEOUT_S = 1800.0
"""Behind everything else the packs of 70,000 commits took over a minute to be joined, and none was wrong."""

Owns = Callable[[Agent], bool]
"""Says whether this process owns an agent now; called often, from the upkeep's thread."""

WordsOfTrouble = Callable[[BaseException], str | None]
"""Says what an error tells of the machine, and what to do; None where it is a matter of the job alone."""


class JobStoppedError(Exception):
    """A job was told to end: the process ends, or the agent is another's now."""


class Stop:
    """Whether a job has to end. A job asks at each of its steps; what it began and did not finish must harm nobody."""

    def __init__(self, is_set: Callable[[], bool] = lambda: False) -> None:
        self._is_set = is_set

    @property
    def is_set(self) -> bool:
        """Whether it has to end."""
        return self._is_set()

    def check(self) -> None:
        """Go on, or raise ``JobStoppedError``."""
        if self._is_set():
            raise JobStoppedError

    def git(self, git: Git) -> Git:
        """Return a git for a job: behind everything else on the machine, with one thread, ended where the job has to.

        A git that was ended raises ``GitUnusableError``; the runner knows that it was no trouble.
        """
        processes = replace(git.processes, niceness=SharingBounds.upkeep_niceness, is_stopped=self._is_set)
        return replace(git, processes=processes, threads=1, timeout_s=max(git.timeout_s, _GIT_TIMEOUT_S))


@dataclass(frozen=True)
class Job:
    """One piece of work for one agent. ``kind`` names it in the log and the counters (``upkeep.<kind>.done``)."""

    kind: str
    agent: Agent
    work: Callable[[Stop], None] = field(compare=False)


class UpkeepRunner:
    """Runs jobs one after the other, for as long as this process owns their agents.

    Each job is counted once, by how it ended: ``done``, ``failed``, ``stopped`` or ``refused`` (too many waited).
    Thread-safe. The thread begins with the first job.
    """

    def __init__(
        self,
        observer: Observer,
        owns: Owns = lambda _: True,
        jobs_max: int = JOBS_MAX,
        words_of_trouble: WordsOfTrouble = lambda _: None,
        clock: Clock = steady_clock,
    ) -> None:
        self.owns = owns
        self._words_of_trouble = words_of_trouble
        self._trouble = LastingTrouble(logger, "upkeep.trouble", clock=clock)
        self._clock = clock
        # The kinds and agents of the jobs that have met it, and when each last did; of the upkeep's thread alone.
        self._troubled: dict[tuple[str, Agent], float] = {}
        self._observer = observer
        self._jobs_max = jobs_max
        self._changed = threading.Condition()
        self._waiting: dict[Job, None] = {}
        self._running: Job | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def submit(self, job: Job) -> bool:
        """Have a job run after those that wait; return whether it will be.

        One of the same kind and agent that waits already stands for it: it has not begun, so it will find all that is
        there now. Never waits, and raises nothing.
        """
        with self._changed:
            if self._closed:
                return False
            if job in self._waiting:
                return True
            if len(self._waiting) >= self._jobs_max:
                self._observer.count(f"upkeep.{job.kind}.refused")
                return False
            self._waiting[job] = None
            self._measure()
            if self._thread is None:
                self._thread = begin_thread("memrepo-upkeep", self._run)
            self._changed.notify_all()
            return True

    def wait_until_idle(self, timeout_s: float) -> bool:
        """Wait until no job runs or waits; False where that took too long."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and self._running is None, timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """Take no more jobs, forget those that wait, and have the one that runs end at its next step.

        One that does not end in time (it waits for a store) is left behind, and ends with the process.
        """
        with self._changed:
            self._closed = True
            for job in self._waiting:
                self._observer.count(f"upkeep.{job.kind}.stopped")
            self._waiting.clear()
            self._measure()
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(timeout_s)

    def _run(self) -> None:
        while (job := self._next()) is not None:
            outcome = self._outcome(job)
            self._observer.count(f"upkeep.{job.kind}.{outcome}")
            with self._changed:
                self._running = None
                self._measure()
                self._changed.notify_all()

    def _measure(self) -> None:
        """Say how much there is to do. The caller holds the lock."""
        self._observer.measure("upkeep.pending", len(self._waiting) + (self._running is not None))

    def _next(self) -> Job | None:
        """Return the next job when there is one; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                return None
            self._running = next(iter(self._waiting))
            del self._waiting[self._running]
            return self._running

    def _is_owned(self, agent: Agent) -> bool:
        """Whether this process owns an agent; where that cannot be told, no: a job may end, its thread may not."""
        try:
            return self.owns(agent)
        except Exception:  # noqa: BLE001 - it is asked also while another error is dealt with
            return False

    def _outcome(self, job: Job) -> str:
        stop = Stop(lambda: self._closed or not self._is_owned(job.agent))
        try:
            stop.check()
            with keeping(Pace(lambda: True)):
                job.work(stop)
        except JobStoppedError:
            return "stopped"
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one job, the others run, and requests too
            if stop.is_set:
                return "stopped"
            self._tell(job, error)
            return "failed"
        self._note_done(job)
        return "done"

    def _note_done(self, job: Job) -> None:
        """Note that a job is done: trouble is over where it had met that, or none is waited for any more that did.

        Those are not whose agent is another's now, nor those that met it ``TROUBLED_S_MAX`` ago.
        """
        since_s = self._clock() - TROUBLED_S_MAX
        is_over = (job.kind, job.agent) in self._troubled
        self._troubled = {
            (kind, agent): met_s
            for (kind, agent), met_s in self._troubled.items()
            if met_s > since_s and self._is_owned(agent)
        }
        if is_over or not self._troubled:
            self._troubled.clear()
            self._trouble.over()

    def _tell(self, job: Job, error: Exception) -> None:
        fields = {"kind": job.kind, "agent": str(job.agent), "error": type(error).__name__}
        outcome = f"{job.kind} of {job.agent} failed, and is tried again later"
        words = self._words_of_trouble(error)
        if words is None:
            message = f"{outcome}: {type(error).__name__}"
            log(logger, logging.WARNING, "upkeep.failed", message, fields, error)
        else:
            self._troubled[job.kind, job.agent] = self._clock()
            self._trouble.met(f"memories are not kept quick: {words}", outcome, fields, error)
