"""Trouble of the machine under a worker: what it looks like, and how it is told. It never is a verdict."""

from __future__ import annotations

import errno
import logging
from dataclasses import dataclass, field

from memrepo.clock import Clock, steady_clock
from memrepo_worker.git.command import GIT_VERSION_MIN, GitTooSlowError, GitTroubleError, GitUnusableError
from memrepo_worker.git.packed.directory import ObjectMissingError
from memrepo_worker.repos.trust import WarmRepoDamagedError
from memrepo_worker.trouble import LastingTrouble

logger = logging.getLogger(__name__)

DAMAGE = (WarmRepoDamagedError, ObjectMissingError)
"""Something in a local copy is wrong: it is thrown away, and made anew from the journal."""

TROUBLE = (OSError, MemoryError, GitTroubleError)
"""The machine does not let a local copy be used. What the store and Redis raise is translated before, so is none."""

REST_S = 5.0

_GIT_LEAST = ".".join(map(str, GIT_VERSION_MIN))

_ADVICE = {
    errno.ENOSPC: "make room where MEMREPO_CACHE_DIR is",
    errno.EDQUOT: "make room where MEMREPO_CACHE_DIR is, or raise the quota",
    errno.EROFS: "mount MEMREPO_CACHE_DIR so that it can be written",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "raise the system's limit of open files",
    errno.ENOMEM: "give the worker more memory",
}


def words_of(error: BaseException) -> str:
    """Return what the trouble is, without paths or content, and what mends it."""
    if isinstance(error, GitUnusableError) and not isinstance(error, GitTooSlowError):
        return f"{error}; the worker must be able to run git {_GIT_LEAST} or newer, found by PATH"
    if isinstance(error, GitTroubleError):
        return str(error)
    if isinstance(error, MemoryError):
        return "no memory is left; give the worker more memory"
    if isinstance(error, OSError):
        if error.errno is None:  # libgit2's, in words that have paths
            return "its system refuses it something; the worker must be able to read and write in MEMREPO_CACHE_DIR"
        advice = _ADVICE.get(error.errno, "the worker must be able to read and write in MEMREPO_CACHE_DIR")
        name = errno.errorcode.get(error.errno, "")
        return f"{(error.strerror or name).lower()} ({name}); {advice}"
    return "what it writes to its disk comes back damaged; look at the disk under MEMREPO_CACHE_DIR"


def words_of_trouble(error: BaseException) -> str | None:
    """Return what an error says of the machine, and what mends it; None where it is no trouble of the machine.

    That git was not over in time may be for how much it was given to do.
    """
    is_trouble = isinstance(error, TROUBLE) and not isinstance(error, GitTooSlowError)
    return words_of(error) if is_trouble else None


@dataclass
class CacheTrouble:
    """Whether the cache folder can be used. Thread-safe.

    For some seconds after it could not, agents that have nothing warm there are served without it at once; the next
    one after that tries it again.
    """

    clock: Clock = steady_clock
    rest_s: float = REST_S
    _lasting: LastingTrouble = field(default_factory=lambda: LastingTrouble(logger, "cache.trouble"))
    _last: tuple[float, Exception] | None = None

    def met(self, error: Exception) -> None:
        """Note that it could not be used. A copy that comes back damaged says nothing of other agents' copies."""
        if not isinstance(error, DAMAGE):
            self._last = (self.clock(), error.with_traceback(None))
        self._lasting.met(
            f"the local cache cannot be used: {words_of(error)}", "agents are served without it, more slowly"
        )

    def lasting(self) -> Exception | None:
        """Return the trouble, if it was met so lately that it is not to be tried again yet."""
        last = self._last
        return last[1] if last is not None and self.clock() - last[0] < self.rest_s else None

    def over(self) -> None:
        """Note that it could be used."""
        self._last = None
        self._lasting.over()
