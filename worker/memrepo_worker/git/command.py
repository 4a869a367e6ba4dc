"""The git command line, isolated: it obeys no configuration, runs no hook or other program, and fetches nothing.

Git obeys the configuration of the repository that it runs in, and much of that names programs: a monitor of the file
system, filters, a pager, what fetches an object that is missing. So git runs only in repositories that we have just
made; objects that lie where others could write are read around a git directory of our own (``ObjectFolder``).
"""

from __future__ import annotations

import errno
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from memrepo.limits import MIB
from memrepo_worker.bounds import COMPARED_BYTES, Bounds
from memrepo_worker.files.regular import irregular_in
from memrepo_worker.git.bounds import GitBounds, GitCaps
from memrepo_worker.git.pack_sizes import PackTooLargeError, check_unpacked
from memrepo_worker.processes import (
    HOLDS_BOUNDS,
    Fed,
    ProcessBounds,
    Processes,
    ProcessFailedError,
    ProcessOverBoundsError,
    ProcessOverCpuError,
    ProcessTooSlowError,
    ProcessTroubleError,
    Stdin,
)
from memrepo_worker.tracing import step

GIT_VERSION_MIN = (2, 39)  # Debian 12's, the oldest that the tests run on

_COMPARE_CPU_S_MAX = 5
_INDEXED_BYTES_PER_S = 4 * MIB
"""So quickly git takes packs in at least, also on a machine that is ten times as slow or busy as most."""

_OVER_LIMIT = re.compile(r"attempting to (allocate|mmap) \d+ over limit|[Oo]ut of memory")
_TROUBLE = re.compile(
    "|".join(
        os.strerror(number)
        for number in (
            *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ESTALE),
            *(errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN),
        )
    ),
    re.IGNORECASE,
)
"""What git repeats of the system where the disk, its rights, its memory or its files are at their end."""

_FRAME = Path(__file__).with_name("frame")

_CONFIG = {
    "gc.auto": "0",
    "maintenance.auto": "false",
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.attributesFile": "/dev/null",
    "core.excludesFile": "/dev/null",
    "init.defaultBranch": "main",
    "advice.detachedHead": "false",
    # Of packs of any size so much is mapped at a time; else all of a large memory counts as what a worker takes.
    "core.packedGitWindowSize": "16m",
    "core.packedGitLimit": "128m",
    "pack.deltaCacheSize": "32m",
}
_STREAMED_BLOBS = "core.bigFileThreshold=16m"  # what is larger, and no delta, is never whole in git's memory
_PLAIN_OBJECTS_ONLY = {"core.commitGraph": "false", "core.multiPackIndex": "false"}


class GitError(Exception):
    """git is missing, too old, failed, or took too long."""


class GitTroubleError(GitError):
    """The machine did not give git what it needs, such as room on the disk: no word on what it was asked.

    The message names the trouble, and nothing of what git was working on.
    """


class GitUnusableError(GitTroubleError):
    """Git could not be started, was killed by another than us, or was not over in time."""


class GitTooSlowError(GitUnusableError):
    """Git was not over in time."""


class GitOverBoundsError(GitError):
    """Git would have used more than its bounds allow; the message names the setting that moves them, if one does."""


@dataclass(frozen=True, slots=True)
class ObjectFolder:
    """The objects of a repository, and nothing else of it: no configuration, no hooks, no refs.

    ``shallow`` is a file that names commits whose parents are not there. Only where ``trusted`` are commit graphs and
    multi-pack indexes believed, which may say other things than the objects do.
    """

    path: Path
    shallow: Path | None = None
    trusted: bool = True


@dataclass
class GitUsage:
    """What several runs of git for one purpose have taken together, in one thread: processor time.

    ``refused`` and ``parted`` are how often less was tried at a time, since git would not take all at once.
    """

    cpu_s: float = 0.0
    refused: int = 0
    parted: int = 0

    def add(self, cpu_s: float) -> None:
        """Note what a run has taken."""
        self.cpu_s += cpu_s


@dataclass(frozen=True)
class Git:
    """Runs git. ``search_path`` is where it is looked for, as in ``PATH``; ``protocols`` may be used to fetch.

    ``threads`` is how many a process may have where it could use several: each takes memory of its own.
    With a ``usage`` the cap on processor time is one of all runs that share it.
    """

    processes: Processes
    search_path: str
    timeout_s: float = 60.0
    caps: GitCaps = field(default_factory=GitCaps)
    bounds: GitBounds | None = None
    protocols: str = ""
    compared_bytes_max: int = Bounds.compared_bytes_max
    threads: int = 2
    usage: GitUsage | None = None

    def for_foreign(self, stored_bytes: int) -> Git:
        """Return a git whose bounds are those for others' objects of so many bytes, as they are stored."""
        return replace(self, bounds=self.caps.bounds_for(stored_bytes))

    def run(
        self,
        arguments: Sequence[str],
        *,
        repo: Path | ObjectFolder | None = None,
        stdin: Stdin = b"",
        stdout: IO[bytes] | None = None,
        timeout_s: float | None = None,
        bounds: GitBounds | None = None,
        output_bytes_max: int | None = None,
    ) -> bytes:
        """Run one git command and return its standard output; ``timeout_s`` stands in for the usual limit.

        Where ``stdin`` or ``stdout`` is a file, what it reads or writes is never in our memory.
        ``repo`` is a repository that we have just made, or the objects of any other.

        Raises:
            GitOverBoundsError: it was over its bounds.
            GitTroubleError: the machine did not let it; ``GitUnusableError``: it did not come to its end.
            GitError: it failed, or was not begun, since it would have waited for what is no file.
        """
        if isinstance(repo, ObjectFolder) and (found := irregular_in(repo.path, graphs=repo.trusted)):
            raise GitError(f"{found} is no regular file")
        bounds = self._left_of(bounds or self.bounds or self.caps.bounds)
        try:
            with step(f"git {_verb(arguments)}"):
                return self.processes.run(
                    ["git", *arguments],
                    env={
                        **self.environment(trusted=not isinstance(repo, ObjectFolder) or repo.trusted),
                        **_place(repo),
                        "GIT_ALLOC_LIMIT": str(bounds.allocation_bytes_max),
                    },
                    timeout_s=timeout_s or self.timeout_s,
                    stdin=stdin,
                    stdout=stdout,
                    bounds=ProcessBounds(bounds.cpu_s_max, bounds.memory_bytes_max, output_bytes_max),
                    told_cpu_s=(self.usage or GitUsage()).add,
                )
        except ProcessOverCpuError as error:
            raise GitOverBoundsError(f"{error}; MEMREPO_FOREIGN_CPU_S_MAX allows for more") from error
        except ProcessOverBoundsError as error:
            raise GitOverBoundsError(str(error)) from error
        except ProcessTooSlowError as error:
            raise GitTooSlowError(str(error)) from error
        except ProcessTroubleError as error:
            raise GitUnusableError(str(error)) from error
        except ProcessFailedError as error:
            if _OVER_LIMIT.search(str(error)):
                raise GitOverBoundsError(
                    f"{error}; MEMREPO_FOREIGN_ALLOCATION_BYTES_MAX allows for more"
                ) from error
            if trouble := _TROUBLE.search(str(error)):
                raise GitTroubleError(f"git: {trouble[0].lower()}") from error
            raise GitError(str(error)) from error

    def _left_of(self, bounds: GitBounds) -> GitBounds:
        if self.usage is None:
            return bounds
        left_s = self.caps.cpu_s_max - self.usage.cpu_s
        if left_s <= 0:
            raise GitOverBoundsError(
                f"git used more than {self.caps.cpu_s_max} s of processor time in all its runs for this; "
                "MEMREPO_FOREIGN_CPU_S_MAX allows for more"
            )
        return replace(bounds, cpu_s_max=min(bounds.cpu_s_max, math.ceil(left_s)))

    def environment(self, *, trusted: bool = True) -> dict[str, str]:
        """Return the environment that git gets wherever it runs."""
        env = {
            "PATH": self.search_path,
            "HOME": "/nonexistent",
            "LC_ALL": "C",
            "TZ": "UTC",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_ALLOW_PROTOCOL": self.protocols,
            "GIT_LITERAL_PATHSPECS": "1",
            "GIT_TEMPLATE_DIR": "",
        }
        config = _CONFIG | {"pack.threads": str(self.threads)} | ({} if trusted else _PLAIN_OBJECTS_ONLY)
        env["GIT_CONFIG_COUNT"] = str(len(config))
        for index, (name, value) in enumerate(config.items()):
            env[f"GIT_CONFIG_KEY_{index}"] = name
            env[f"GIT_CONFIG_VALUE_{index}"] = value
        return env

    def require_version(self) -> str:
        """Return git's version.

        Raises:
            GitError: git is not installed, or older than ``GIT_VERSION_MIN``.
        """
        text = self.run(["--version"]).decode(errors="replace").strip()
        match = re.search(r"(\d+)\.(\d+)", text)
        if match is None or (int(match[1]), int(match[2])) < GIT_VERSION_MIN:
            wanted = ".".join(map(str, GIT_VERSION_MIN))
            raise GitError(f"git {wanted} or newer is needed, this is: {text}")
        return text

    def require_entry(self, stored_bytes: int) -> None:
        """Return if an entry, base or segment of so many bytes may be written.

        Raises:
            GitOverBoundsError: no worker would read it.
        """
        most = self.caps.entry_bytes_max
        if stored_bytes > most:
            raise GitOverBoundsError(
                f"it is {stored_bytes} bytes as it is stored, over MEMREPO_ENTRY_BYTES_MAX ({most})"
            )

    def index_pack(self, repo: Path, pack: Stdin) -> str:
        """Add a pack of our own to a repository; objects that it refers to by delta are added to it from there.

        Returns the name of the pack that it made of it: where objects were added, they are at its end.

        It is under the caps alone: what a journal holds was within other bounds when it came in, and a well packed
        history is many times larger than its pack.

        Raises:
            GitOverBoundsError: it takes more than the caps allow.
            GitError: git finds fault with it.
        """
        more_s = len(pack) / _INDEXED_BYTES_PER_S if isinstance(pack, Fed) else 0.0
        return self._index(repo, pack, self.caps.bounds, timeout_s=self.timeout_s + more_s)

    def index_foreign_pack(self, repo: Path, pack: bytes | memoryview) -> None:
        """Add a pack that others made, once it is known that it stands for no more than the caps allow.

        Raises:
            GitOverBoundsError: it stands for more.
            GitError: git finds fault with it.
            ValueError: it is no pack.
        """
        try:
            check_unpacked(pack, self.caps.unpacked_bytes_max, self.caps.inflated_bytes_max(len(pack)))
        except PackTooLargeError as error:
            raise GitOverBoundsError(
                f"{error}; MEMREPO_FOREIGN_UNPACKED_BYTES_MAX allows for more"
            ) from error
        self._index(repo, pack, self.caps.bounds_for(len(pack)), "--strict")

    def index_strict_pack(self, repo: Path, pack: bytes | memoryview) -> None:
        """Add a pack of our own, every object of it checked, and that all that it names is there or here.

        Raises:
            GitError: as ``index_pack``.
        """
        self._index(repo, pack, self.caps.bounds, "--strict")

    def index_whole_pack(self, repo: Path, pack: bytes | memoryview | IO[bytes]) -> None:
        """Add a pack of our own that must be whole: every object sound, and all that it names there or here.

        Raises:
            GitError: as ``index_pack``.
        """
        arguments = ["index-pack", "--stdin", "--fix-thin", "--strict"]
        self.run(arguments, repo=ObjectFolder(repo / "objects"), stdin=pack)

    def index_sound_pack(self, repo: Path, pack: bytes | memoryview | IO[bytes]) -> str:
        """Add a pack of our own whose every object must be sound; what these name may be elsewhere.

        Returns its name, as ``index_pack``.

        Raises:
            GitError: as ``index_pack``.
        """
        arguments = ["index-pack", "--stdin", "--fix-thin", "--fsck-objects"]
        return self.run(arguments, repo=ObjectFolder(repo / "objects"), stdin=pack).decode().split()[-1]

    def _index(
        self, repo: Path, pack: Stdin, bounds: GitBounds, *options: str, timeout_s: float | None = None
    ) -> str:
        made = self.run(
            ["-c", _STREAMED_BLOBS, "index-pack", "--stdin", "--fix-thin", *options],
            repo=ObjectFolder(repo / "objects"),
            stdin=pack,
            bounds=bounds,
            timeout_s=timeout_s,
        )
        return made.decode().split()[-1]

    def may_compare(self, differing_bytes: int) -> bool:
        """Whether contents may be compared that differ in so many bytes; counts those that may not."""
        if differing_bytes > self.compared_bytes_max:
            self.processes.observer.count(COMPARED_BYTES)
            return False
        return True

    def diff_of_blobs(self, repo: Path, old: str, new: str) -> bytes:
        """Return the patch from one blob to another; gives up after a few seconds of work.

        Of work, not of time: how busy the machine is must not decide what is answered.

        Raises:
            GitOverBoundsError: it was more work.
            GitError: as ``run``.
        """
        arguments = ["diff", "--text", "--no-color", "--no-ext-diff", "--no-textconv", old, new]
        bounds = replace(self.caps.bounds, cpu_s_max=_COMPARE_CPU_S_MAX)
        if HOLDS_BOUNDS:
            return self.run(arguments, repo=ObjectFolder(repo / "objects"), bounds=bounds)
        try:
            return self.run(arguments, repo=ObjectFolder(repo / "objects"), timeout_s=_COMPARE_CPU_S_MAX)
        except GitTooSlowError as error:
            raise GitOverBoundsError(str(error)) from error

    def commits_touching(
        self, place: ObjectFolder, start: str, path: str, count_max: int | None = None
    ) -> list[str]:
        """Return the commits reachable from ``start`` that changed a file, newest first (``git rev-list -- path``)."""
        limit = [] if count_max is None else [f"--max-count={count_max}"]
        listed = self.run(["rev-list", *limit, start, "--", path], repo=place)
        return listed.decode().split()


def _verb(arguments: Sequence[str]) -> str:
    """Return which of git's commands it is, past options of git itself."""
    rest = iter(arguments)
    for one in rest:
        if one == "-c":
            next(rest, None)
        elif not one.startswith("-"):
            return one
    return "itself"


def _place(repo: Path | ObjectFolder | None) -> dict[str, str]:
    """Return the variables that say where git runs."""
    if repo is None:
        return {}
    if isinstance(repo, Path):
        return {"GIT_DIR": str(repo.absolute())}
    place = {"GIT_DIR": str(_FRAME), "GIT_OBJECT_DIRECTORY": str(repo.path.absolute())}
    if repo.shallow is not None:
        place["GIT_SHALLOW_FILE"] = str(repo.shallow.absolute())
    return place
