"""The warm repositories of one worker process, the least recently used leaving first.

A cache folder may be shared by several processes of a machine, and so are its limits: each process has a slot of its
own (see ``slots``). What an earlier process left in the slot is found again. A repository that somebody holds never
leaves; how many bytes each takes is in the ``accounts``.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO

from memrepo.clock import Clock, steady_clock
from memrepo_worker.bounds import CacheLimits
from memrepo_worker.files.regular import remove_folder
from memrepo_worker.git.command import Git
from memrepo_worker.group import Agent
from memrepo_worker.observe import Observer
from memrepo_worker.repos.accounts import Accounts
from memrepo_worker.repos.slots import STATE_FILE, Slot, bytes_on_disk, mark_used, remove_repo, repos_in
from memrepo_worker.repos.spare import SpareFolders
from memrepo_worker.repos.state import RepoState
from memrepo_worker.repos.warm import WarmRepo

_BESIDE = "beside-"


class RepoCache:
    """Hands out warm repositories. One thread at a time may hold a given agent's; different agents do not wait.

    Where its limits are met by what several processes keep, those give way that keep more than their share; what is
    left of processes that have ended goes first. The one that was used last always stays, however large.
    """

    def __init__(
        self,
        folder: Path,
        store_name: str,
        git: Git,
        observer: Observer,
        limits: CacheLimits | None = None,
        spare: SpareFolders | None = None,
        clock: Clock = steady_clock,
    ) -> None:
        self._slot = Slot.take(folder)
        self._store_name = store_name
        self._git = git
        self._observer = observer
        self._spare = spare or SpareFolders.of_slot(self._slot.path)
        self._lock = threading.Condition()
        self.on_release: Callable[[Agent, WarmRepo], object] = lambda *_: None
        self._held: set[str] = set()
        self._repos: OrderedDict[str, WarmRepo] = OrderedDict()  # those in memory
        self._generations = count(1 + max(map(_generation_of, self._slot.path.glob("*/*.git")), default=0))
        self._remove_unfinished()
        found = repos_in(self._slot.path)
        self.accounts = Accounts(self._slot, limits or CacheLimits(), clock, found)
        self._evict()

    @contextmanager
    def hold(self, agent: Agent) -> Iterator[HeldRepo]:
        """Lend an agent's warm repository to one thread; a second one waits for the first."""
        name = self._name_of(agent)
        with self._lock:
            self._lock.wait_for(lambda: name not in self._held)
            self._held.add(name)
        try:
            yield HeldRepo(self, agent)
        finally:
            self._given_back(agent, name)

    def _given_back(self, agent: Agent, name: str) -> None:
        """Weigh a repository that was used, keep the limits, and have it repacked if it is due.

        What the machine does not let be done now is due again after the next use: it decides no request.
        """
        try:
            try:
                repo = self._repos.get(name)
                self._weigh(name, repo)
            finally:
                self._release(name)
            self._evict()
            if repo is not None:
                self.on_release(agent, repo)
        except (OSError, MemoryError):
            self._observer.count("cache.failed")

    def close(self) -> None:
        """Write what waits in memory, and give the slot back. Nobody may hold a repository any more."""
        with self._lock:
            repos = list(self._repos.items())
            self._repos.clear()
        now_ns = time.time_ns()
        for order, (name, repo) in enumerate(repos, start=-len(repos)):
            try:
                repo.save()
            except Exception:  # noqa: BLE001 - whatever is wrong with one, the others are saved
                self._forget(name)
            else:
                self._weigh(name, repo)
                mark_used(repo.path, now_ns + order)
        self._tell()
        self._spare.clear()
        self._slot.close()

    def __len__(self) -> int:
        """How many are in memory."""
        return len(self._repos)

    @property
    def folder(self) -> Path:
        """What this process has of the cache folder."""
        return self._slot.path

    def is_warm(self, agent: Agent) -> bool:
        """Whether there is something of an agent in memory or on disk."""
        return self._name_of(agent) in self._repos or self.path_of(agent) is not None

    def path_of(self, agent: Agent) -> Path | None:
        """Return where an agent's repository lies on disk, or None where there is none."""
        folder = self._slot.path / self._name_of(agent)
        return max(folder.glob("*.git"), key=_generation_of, default=None)

    def _name_of(self, agent: Agent) -> str:
        """Return the name of the folder of an agent's repositories: by digest, since ids may differ only in case.

        Each repository that is made has a new name in it. libgit2 keeps packs open for the whole process, by path:
        one made anew at a place where a damaged one was would be read from the damaged one's memory.
        """
        return _name_of(self._store_name, agent)

    def in_memory(self, agent: Agent) -> WarmRepo | None:
        """Return the repository if it is in memory."""
        return self._repos.get(self._name_of(agent))

    def find(self, agent: Agent) -> WarmRepo | None:
        """Return the repository from memory; or from disk, which is a claim until the store is asked; or None."""
        name = self._name_of(agent)
        with self._lock:
            repo = self._repos.get(name)
            if repo is not None:
                self._repos.move_to_end(name)
                self.accounts.use(name)
        if repo is not None:
            self._observer.count("cache.found_in_memory")
            return repo
        path = self.path_of(agent)
        found = None if path is None else WarmRepo.load(path, self._git)
        if found is not None:
            self._observer.count("cache.found")
        return found

    def fresh(self, agent: Agent, state: RepoState | None) -> WarmRepo:
        """Make an empty repository in place of whatever there was; it is gone again unless it is kept."""
        self._observer.count("cache.fresh")
        name = self._name_of(agent)
        self._forget(name)
        return WarmRepo.empty(self._slot.path / name / f"{next(self._generations)}.git", self._git, state)

    def fresh_elsewhere(self, folder: Path, state: RepoState | None) -> WarmRepo:
        """Make an empty repository outside the cache folder, alone in a folder."""
        shutil.rmtree(folder, ignore_errors=True)
        return WarmRepo.empty(folder / f"{next(self._generations)}.git", self._git, state)

    def keep(self, agent: Agent, repo: WarmRepo) -> None:
        """Keep a repository warm."""
        name = self._name_of(agent)
        with self._lock:
            self._repos[name] = repo
            self._repos.move_to_end(name)
            self.accounts.use(name)

    def drop(self, agent: Agent) -> None:
        """Throw a repository away, from memory and disk."""
        self._drop(self._name_of(agent))

    def elsewhere(self, agent: Agent) -> Generator[HeldRepo]:
        """Yield places outside the cache folder for an agent's repository, whose own place is held; each is new."""
        for path in self._spare.places():
            held = HeldRepo(self, agent, path)
            try:
                yield held
            finally:
                held.leave_elsewhere()

    def make_room(self) -> int:
        """Let the half go that was used least recently, of those that nobody holds; return how many went.

        What an earlier process left, and nobody has used since, goes whole.
        """
        with self._lock:
            left = [
                name for name in self.accounts.names() if name not in self._repos and name not in self._held
            ]
            idle = [name for name in self._repos if name not in self._held]
            going = deque([*left, *idle[: (len(idle) + 1) // 2]])
            self._held.update(going)
        number = len(going)
        try:
            while going:
                self._drop(going[0])
                self._release(going.popleft())
        finally:
            for name in going:
                self._release(name)
        return number

    # The limits

    def _evict(self) -> None:
        """Let the least recently used go while there is too much: from memory first, which costs only a look."""
        if self._slot.is_given_back:
            return  # what lies there is another process's by now
        accounts = self.accounts
        self._evict_while(
            accounts.has_too_many_recent_files, accounts.names_with_recent_files, self._forget_files
        )
        self._evict_while(accounts.has_too_much_in_memory, lambda: [*self._repos], self._unload)
        self._evict_while(accounts.keeps_too_much, accounts.names, self._drop)
        self._tell()

    def _evict_while(
        self, is_over: Callable[[], bool], names: Callable[[], Sequence[str]], let_go: Callable[[str], None]
    ) -> None:
        while (name := self._take_idle(is_over, names)) is not None:
            try:
                let_go(name)
            finally:
                self._release(name)

    def _take_idle(self, is_over: Callable[[], bool], names: Callable[[], Sequence[str]]) -> str | None:
        """Hold the least recently used that nobody holds, where there is too much; never the one that was used last."""
        if not is_over():
            return None
        with self._lock:
            oldest = next((name for name in names()[:-1] if name not in self._held), None)
            if oldest is not None:
                self._held.add(oldest)
        return oldest

    def _forget_files(self, name: str) -> None:
        """Let the recent files of one go from memory."""
        repo = self._repos.get(name)
        if repo is not None:
            repo.recent.forget()
            self._weigh(name, repo)

    def _unload(self, name: str) -> None:
        """Let one go from memory; on disk it stays."""
        with self._lock:
            repo = self._repos.get(name)
        if repo is None:
            return
        try:
            repo.save()
        except Exception:  # noqa: BLE001 - whatever is wrong with one agent's, another's request goes on
            self._drop(name)
            return
        self._weigh(name, repo)
        with self._lock:
            self._repos.pop(name, None)
            self.accounts.unload(name)
        self._observer.count("cache.unloaded")

    def _remove_unfinished(self) -> None:
        """Remove what an earlier process was making when it ended."""
        for path in [each for kind in ("*.git", f"{_BESIDE}*") for each in self._slot.path.glob(kind)]:
            remove_folder(path)

    def _weigh(self, name: str, repo: WarmRepo | None) -> None:
        """Write down what a repository takes now, or what is on disk alone; whoever changed it still holds it.

        What lies there and is no repository goes: making one was broken off.
        """
        folder = self._slot.path / name
        if repo is not None:
            self.accounts.weigh(name, repo.memory_bytes, repo.disk_bytes, repo.recent.memory_bytes)
        elif any(folder.glob(f"*/{STATE_FILE}")):
            self.accounts.weigh_on_disk(name, bytes_on_disk(folder))
        elif folder.is_dir() and not self._slot.is_given_back:
            self._forget(name)

    def _forget(self, name: str) -> None:
        """Remove a folder, and what is known of it."""
        with self._lock:
            self._repos.pop(name, None)
            self.accounts.forget(name)
        remove_repo(self._slot.path / name)

    def _drop(self, name: str) -> None:
        self._forget(name)
        self._observer.count("cache.dropped")

    def _tell(self) -> None:
        """Let the other processes, and who measures, know what is kept."""
        usage = self.accounts.usage
        self._slot.tell(usage)
        self._observer.measure("cache.repositories", usage.repos)
        self._observer.measure("cache.disk_bytes", usage.disk_bytes)
        self._observer.measure("cache.memory_bytes", self.accounts.memory_bytes)

    def _release(self, name: str) -> None:
        with self._lock:
            self._held.discard(name)
            self._lock.notify_all()


class HeldRepo:
    """One agent's place in the cache, while a thread holds it; or one ``elsewhere``, which ends with that."""

    def __init__(
        self,
        cache: RepoCache,
        agent: Agent,
        elsewhere: Path | None = None,
        neighbour: HeldRepo | None = None,
    ) -> None:
        """``neighbour`` is the place, held by the same thread, that this one was made ``beside``."""
        self._cache = cache
        self.agent = agent
        self.neighbour = neighbour
        self._elsewhere = elsewhere
        self._repo: WarmRepo | None = None

    @property
    def is_warm(self) -> bool:
        """Whether there is something in memory or on disk, of use or not."""
        return self._repo is not None if self._elsewhere else self._cache.is_warm(self.agent)

    def in_memory(self) -> WarmRepo | None:
        """Return the repository if it is in memory; it is not used by that."""
        return self._cache.in_memory(self.agent)

    def find(self) -> WarmRepo | None:
        """Return the warm repository, or None; what was not in memory is loaded, and has to be kept."""
        return self._repo if self._elsewhere else self._cache.find(self.agent)

    def fresh(self, state: RepoState | None = None) -> WarmRepo:
        """Begin anew with an empty repository, which is gone once the place is given back, unless it is kept."""
        if self._elsewhere:
            return self._cache.fresh_elsewhere(self._elsewhere, state)
        return self._cache.fresh(self.agent, state)

    def open_file(self) -> IO[bytes]:
        """Open a new file without a name, beside the repository: for what is on its way into it."""
        return TemporaryFile(dir=self.folder)

    @property
    def folder(self) -> Path:
        """Where files may be made that go with this place."""
        return self._cache.folder if self._elsewhere is None else self._elsewhere.parent

    @contextmanager
    def beside(self, agent: Agent) -> Iterator[HeldRepo]:
        """Yield a place for another agent's repository, gone afterwards; raises ``OSError``."""
        with TemporaryDirectory(prefix=_BESIDE, dir=self.folder, ignore_cleanup_errors=True) as folder:
            yield HeldRepo(self._cache, agent, Path(folder, "repository"), self)

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


@lru_cache(1024)  # each turn asks several times
def _name_of(store_name: str, agent: Agent) -> str:
    name = f"{store_name}\0{agent.org_id}\0{agent.agent_id}"
    return hashlib.blake2b(name.encode(), digest_size=16).hexdigest()


def _generation_of(path: Path) -> int:
    return int(path.stem) if path.stem.isdigit() else 0
