"""The warm repositories of one worker process, the least recently used leaving first.

A cache folder may be shared by several processes of a machine: each takes a slot of its own, by a file lock that the
kernel gives back when the process ends, however it ends. What an earlier process left in the slot is used again.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import IO

from memrepo_worker.git.command import Git
from memrepo_worker.group import Agent
from memrepo_worker.observe import Observer
from memrepo_worker.repos.spare import SpareFolders
from memrepo_worker.repos.state import RepoState
from memrepo_worker.repos.warm import WarmRepo

_SLOTS_MAX = 256
_NOT_OURS = {errno.EACCES, errno.EPERM, errno.EISDIR, errno.ELOOP}
REPOS_MAX_DEFAULT = 2000


class CacheUnusableError(Exception):
    """The cache folder cannot be written, or all its slots are taken."""


class RepoCache:
    """Hands out warm repositories. One thread at a time may hold a given agent's; different agents do not wait."""

    def __init__(
        self,
        folder: Path,
        store_name: str,
        git: Git,
        observer: Observer,
        repos_max: int = REPOS_MAX_DEFAULT,
        spare: SpareFolders | None = None,
    ) -> None:
        self._slot, self._lock_file = _take_slot(folder)
        self._store_name = store_name
        self._git = git
        self._observer = observer
        self._repos_max = repos_max
        self._spare = spare or SpareFolders(_spare_name(self._slot))
        self._lock = threading.Condition()
        self._repos: OrderedDict[Agent, WarmRepo] = OrderedDict()
        self._held: set[Agent] = set()
        self._generations = count(1 + max(map(_generation_of, self._slot.glob("*/*.git")), default=0))
        self._shrink()

    @contextmanager
    def hold(self, agent: Agent) -> Iterator[HeldRepo]:
        """Lend an agent's warm repository to one thread; a second one waits for the first."""
        with self._lock:
            self._lock.wait_for(lambda: agent not in self._held)
            self._held.add(agent)
        try:
            yield HeldRepo(self, agent)
        finally:
            self._release(agent)
            self._evict()

    def close(self) -> None:
        """Write what waits in memory, and give the slot back. Nobody may hold a repository any more."""
        with self._lock:
            repos = list(self._repos.values())
            self._repos.clear()
        for repo in repos:
            try:
                repo.save()
            except Exception:  # noqa: BLE001 - whatever is wrong with one, the others are saved
                shutil.rmtree(repo.path.parent, ignore_errors=True)
        self._spare.clear()
        self._lock_file.close()

    def __len__(self) -> int:
        return len(self._repos)

    def is_warm(self, agent: Agent) -> bool:
        """Whether there is something of an agent in memory or on disk."""
        return agent in self._repos or self.path_of(agent) is not None

    def path_of(self, agent: Agent) -> Path | None:
        """Return where an agent's repository lies on disk, or None where there is none."""
        return max(self._folder_of(agent).glob("*.git"), key=_generation_of, default=None)

    def _folder_of(self, agent: Agent) -> Path:
        """Return the folder of an agent's repositories: by digest, since ids may differ only in case.

        Each repository that is made has a new name in it. libgit2 keeps packs open for the whole process, by path:
        one made anew at a place where a damaged one was would be read from the damaged one's memory.
        """
        name = f"{self._store_name}\0{agent.org_id}\0{agent.agent_id}"
        return self._slot / hashlib.blake2b(name.encode(), digest_size=16).hexdigest()

    def find(self, agent: Agent) -> WarmRepo | None:
        """Return the repository from memory, or from disk, or None."""
        with self._lock:
            repo = self._repos.get(agent)
            if repo is not None:
                self._repos.move_to_end(agent)
                return repo
        path = self.path_of(agent)
        found = None if path is None else WarmRepo.load(path, self._git)
        if found is not None:
            self._observer.count("cache.found")
        return found

    def fresh(self, agent: Agent, state: RepoState | None) -> WarmRepo:
        """Make an empty repository in place of whatever there was."""
        self._observer.count("cache.fresh")
        folder = self._folder_of(agent)
        shutil.rmtree(folder, ignore_errors=True)
        return WarmRepo.empty(folder / f"{next(self._generations)}.git", self._git, state)

    def fresh_elsewhere(self, folder: Path, state: RepoState | None) -> WarmRepo:
        """Make an empty repository outside the cache folder, alone in a folder."""
        shutil.rmtree(folder, ignore_errors=True)
        return WarmRepo.empty(folder / f"{next(self._generations)}.git", self._git, state)

    def keep(self, agent: Agent, repo: WarmRepo) -> None:
        """Keep a repository warm."""
        with self._lock:
            self._repos[agent] = repo
            self._repos.move_to_end(agent)

    def drop(self, agent: Agent) -> None:
        """Throw a repository away, from memory and disk."""
        with self._lock:
            self._repos.pop(agent, None)
        shutil.rmtree(self._folder_of(agent), ignore_errors=True)
        self._observer.count("cache.dropped")

    def elsewhere(self, agent: Agent) -> Iterator[HeldRepo]:
        """Yield places outside the cache folder for an agent's repository, whose own place is held; each is new."""
        for path in self._spare.places():
            held = HeldRepo(self, agent, path)
            try:
                yield held
            finally:
                held.leave_elsewhere()

    def make_room(self) -> int:
        """Let the half go that was used least recently, of those that nobody holds; return how many went."""
        with self._lock:
            idle = [agent for agent in self._repos if agent not in self._held]
            known = {self._folder_of(agent) for agent in (*self._repos, *self._held)}
            left = [path for path in self._slot.glob("*/") if path not in known]
            for path in left:  # by an earlier process, and not used since
                shutil.rmtree(path, ignore_errors=True)
            going = idle[: (len(idle) + 1) // 2]
            self._held.update(going)
        for agent in going:
            try:
                self.drop(agent)
            finally:
                self._release(agent)
        return len(left) + len(going)

    def _evict(self) -> None:
        """Let the least recently used go, from memory and disk, while there are too many."""
        while True:
            with self._lock:
                if len(self._repos) <= self._repos_max:
                    return
                oldest = next((agent for agent in self._repos if agent not in self._held), None)
                if oldest is None:
                    return
                self._held.add(oldest)
            try:
                self.drop(oldest)
            finally:
                self._release(oldest)

    def _shrink(self) -> None:
        """Remove the oldest of what an earlier process left, down to as many as this one keeps."""
        for path in self._slot.glob("*.git"):  # where a version before this kept them
            shutil.rmtree(path, ignore_errors=True)
        left = sorted(self._slot.glob("*/"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in left[self._repos_max :]:
            shutil.rmtree(path, ignore_errors=True)

    def _release(self, agent: Agent) -> None:
        with self._lock:
            self._held.discard(agent)
            self._lock.notify_all()


class HeldRepo:
    """One agent's place in the cache, while a thread holds it; or one ``elsewhere``, which ends with that."""

    def __init__(self, cache: RepoCache, agent: Agent, elsewhere: Path | None = None) -> None:
        self._cache = cache
        self.agent = agent
        self._elsewhere = elsewhere
        self._repo: WarmRepo | None = None

    @property
    def is_warm(self) -> bool:
        """Whether there is something in memory or on disk, of use or not."""
        return self._cache.is_warm(self.agent)

    def find(self) -> WarmRepo | None:
        """Return the warm repository, or None."""
        return self._repo if self._elsewhere else self._cache.find(self.agent)

    def fresh(self, state: RepoState | None = None) -> WarmRepo:
        """Begin anew with an empty repository."""
        if self._elsewhere:
            return self._cache.fresh_elsewhere(self._elsewhere, state)
        return self._cache.fresh(self.agent, state)

    def keep(self, repo: WarmRepo) -> None:
        """Keep a repository warm for the next holder."""
        if self._elsewhere:
            self._repo = repo
        else:
            self._cache.keep(self.agent, repo)

    def drop(self) -> None:
        """Throw the repository away: something in it is wrong, or void."""
        if self._elsewhere:
            self.leave_elsewhere()
        else:
            self._cache.drop(self.agent)

    def leave_elsewhere(self) -> None:
        """Remove what was made elsewhere; nothing where that is not so."""
        if self._elsewhere:
            self._repo = None
            shutil.rmtree(self._elsewhere, ignore_errors=True)


def _generation_of(path: Path) -> int:
    return int(path.stem) if path.stem.isdigit() else 0


def _spare_name(slot: Path) -> str:
    """Return the name of a slot's folders outside the cache; who has the slot has them."""
    place = hashlib.blake2b(str(slot.absolute()).encode(), digest_size=8).hexdigest()
    return f"memrepo-{os.geteuid()}-{place}"


def _take_slot(folder: Path) -> tuple[Path, IO[bytes]]:
    """Lock the first free slot of a cache folder."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number in range(_SLOTS_MAX):
            slot = folder / f"slot-{number:03d}"
            slot.mkdir(mode=0o700, exist_ok=True)
            lock_file = _lock(slot)
            if lock_file is not None:
                return slot, lock_file
    except OSError as error:
        raise CacheUnusableError(f"cache folder {folder} cannot be used: {error.strerror}") from error
    raise CacheUnusableError(f"all {_SLOTS_MAX} slots of cache folder {folder} are taken")


def _lock(slot: Path) -> IO[bytes] | None:
    """Lock a slot; None where a process has it, another user made it, or its lock is no file of ours."""
    try:
        slot.chmod(0o700)  # a version before this let everybody in
        lock_file = (slot / "lock").open("wb")
    except OSError as error:
        if error.errno in _NOT_OURS:
            return None
        raise
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock_file.close()
        return None
    return lock_file
