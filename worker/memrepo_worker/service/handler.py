"""The service: the group handler that the mailbox calls, over a store and a cache of warm repositories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from memrepo_worker.git.reader import ObjectMissingError
from memrepo_worker.group import Group, Outcome
from memrepo_worker.journal.entry import JournalDamagedError
from memrepo_worker.repos.cache import RepoCache
from memrepo_worker.repos.warm import WarmRepoDamagedError
from memrepo_worker.service.opening import ServiceDependencies
from memrepo_worker.service.turn import Turn
from memrepo_worker.store.interface import UnavailableError


@dataclass(frozen=True)
class Service:
    """Settles groups. Different agents' groups may run side by side; one agent's wait for each other."""

    dependencies: ServiceDependencies
    cache: RepoCache

    def __call__(self, group: Group) -> Sequence[Outcome]:
        """Settle a group; see ``GroupHandler``.

        A local copy that turns out to be damaged, or that the journal does not follow on, is thrown away and opened
        anew, once. What is still wrong then is wrong in the store.

        Raises:
            UnavailableError: also when the disk under the cache fails.
        """
        with self.cache.hold(group.agent) as held:
            try:
                return Turn(self.dependencies, held, group).take()
            except (WarmRepoDamagedError, ObjectMissingError, JournalDamagedError):
                self.dependencies.observer.count("repo.healed")
                held.drop()
                return Turn(self.dependencies, held, group).take()
            except OSError as error:
                # A full or broken disk under the cache: nothing was told yet, and a later try may find it mended.
                self.dependencies.observer.count("cache.failed")
                held.drop()
                raise UnavailableError(f"the cache folder cannot be used: {error.strerror}") from error

    def close(self) -> None:
        """Write what waits in memory to the cache folder and let it go."""
        self.cache.close()
