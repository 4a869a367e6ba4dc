"""Folding by the owner: which appends make a memory due, and the job that folds it beside the requests."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from typing_extensions import override

from memrepo.errors import RepoNotFoundError
from memrepo.limits import MIB
from memrepo_worker.git.pack_files import link_packs
from memrepo_worker.group import Agent
from memrepo_worker.journal.runs import completes_run
from memrepo_worker.logs import log
from memrepo_worker.repos.cache import RepoCache
from memrepo_worker.store.decorators.base import StoreDecorator
from memrepo_worker.store.interface import (
    GET_BYTES_MAX,
    Absent,
    FolderPage,
    ListedObject,
    Pin,
    Store,
    StoredObject,
    StoredRange,
    Version,
    When,
)
from memrepo_worker.store.probe import token_of_trial
from memrepo_worker.store.replaces import fault_of_replaces
from memrepo_worker.upkeep.folding import Folder, Known
from memrepo_worker.upkeep.recent import RecentEntries
from memrepo_worker.upkeep.runner import Job, Stop, UpkeepRunner

logger = logging.getLogger(__name__)

READ_BYTES_MAX = 4096 * MIB
"""How much is read to fold a memory that is not warm; what is larger is for ``memrepo store fold``."""

PARTS_MAX = 192
"""A memory that was opened from more objects than this is folded, also where nobody commits to it."""


@dataclass
class OwnerFolding:
    """Has the memories of this process folded when they have grown; told by the service, it never waits.

    A store that does not honour conditional replaces gets no folding: that is tried out before the first.
    """

    runner: UpkeepRunner
    folder: Folder
    lane: Callable[[], Executor]
    cache: RepoCache
    recent: RecentEntries = field(default_factory=RecentEntries)
    _may_fold: bool | None = None

    def appended(self, agent: Agent, seq: int, data: bytes | None) -> None:
        """Note that an entry was appended, and its bytes, unless they are too many to be kept."""
        if self._may_fold is False:
            return
        if data is not None:
            self.recent.keep(agent, seq, data)
        if completes_run(seq):
            self._submit(agent)

    def opened(self, agent: Agent, parts: int) -> None:
        """Note from how many objects a memory was opened cold."""
        if parts > PARTS_MAX and self._may_fold is not False:
            self._submit(agent)

    def _submit(self, agent: Agent) -> None:
        self.runner.submit(Job("fold", agent, partial(self._fold, agent)))

    def _fold(self, agent: Agent, stop: Stop) -> None:
        if not self._is_honoured():
            return
        folder = replace(
            self.folder,
            store=_StoppableStore(self.folder.store, stop),
            git=stop.git(self.folder.git),
            opens_within_s=self.folder.git.timeout_s,
            executor=self.lane(),
        )
        known = Known(partial(link_warm, self.cache, agent), partial(self.recent.find, agent))
        try:
            folder.fold(agent, known=known)
        except RepoNotFoundError:
            return  # deleted meanwhile

    def _is_honoured(self) -> bool:
        if self._may_fold is None:
            fault = fault_of_replaces(self.folder.store, lambda: token_of_trial(self.folder.clock()))
            self._may_fold = fault is None
            if fault is not None:
                message = f"memories are not folded, so old ones open slowly: {fault}"
                log(logger, logging.WARNING, "upkeep.cannot_fold", message, {"fault": fault})
        return self._may_fold


def link_warm(cache: RepoCache, agent: Agent, place: Path) -> bool:
    """Give the packs of an agent's warm repository another name each, below a new one; return whether there are any.

    What is published and waits in memory is not among them. They stay there when the repository leaves the cache.
    """
    with cache.hold(agent):
        path = cache.path_of(agent)
        if path is None:
            return False
        names = [index.stem for index in (path / "objects/pack").glob("*.idx")]
        try:
            link_packs(path / "objects", names, place / "objects")
        except OSError:
            shutil.rmtree(place, ignore_errors=True)
            return False
    return True


class _StoppableStore(StoreDecorator):
    """A job's store: none of its requests begins once the job has to end."""

    def __init__(self, store: Store, stop: Stop) -> None:
        super().__init__(store)
        self._stop = stop

    @override
    def get(self, key: str, bytes_max: int = GET_BYTES_MAX) -> StoredObject:
        self._stop.check()
        return self._store.get(key, bytes_max)

    @override
    def put(self, key: str, data: bytes, when: When) -> Version:
        self._stop.check()
        return self._store.put(key, data, when)

    @override
    def get_range(self, key: str, start: int, bytes_max: int, pin: Pin | None = None) -> StoredRange:
        self._stop.check()
        return self._store.get_range(key, start, bytes_max, pin)

    @override
    def put_stream(self, key: str, parts: Iterable[bytes], when: Absent | Version) -> Version:
        self._stop.check()
        return self._store.put_stream(key, parts, when)

    @override
    def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        self._stop.check()
        for item in self._store.list(prefix, start_after):
            yield item
            self._stop.check()  # before the next page is asked for

    @override
    def folders(self, prefix: str, after: str, names_max: int) -> FolderPage:
        self._stop.check()
        return self._store.folders(prefix, after, names_max)

    @override
    def delete(self, keys: Iterable[str]) -> None:
        self._stop.check()
        self._store.delete(keys)
