"""The service: the group handler that the mailbox calls, over a store and a cache of warm repositories."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from memrepo.errors import MemoryDamagedError
from memrepo_worker.git.reader import ObjectMissingError
from memrepo_worker.group import Group, Outcome
from memrepo_worker.journal.entry import JournalDamagedError
from memrepo_worker.journal.layout import Layout
from memrepo_worker.logs import log
from memrepo_worker.repos.cache import HeldRepo, RepoCache
from memrepo_worker.repos.warm import WarmRepoDamagedError
from memrepo_worker.service.opening import ServiceDependencies
from memrepo_worker.service.turn import Turn
from memrepo_worker.store.interface import UnavailableError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Service:
    """Settles groups. Different agents' groups may run side by side; one agent's wait for each other."""

    dependencies: ServiceDependencies
    cache: RepoCache

    def __call__(self, group: Group) -> Sequence[Outcome]:
        """Settle a group; see ``GroupHandler``.

        A local copy that turns out to be damaged, or that the journal does not follow on, is thrown away and opened
        anew, once. What is still wrong with the journal then is wrong in the store, and told so.

        Raises:
            UnavailableError: also when the disk under the cache fails.
        """
        with self.cache.hold(group.agent) as held:
            try:
                return self._settle(held, group)
            except JournalDamagedError as error:
                held.drop()
                return [self._damaged(group, error)] * len(group.requests)
            except OSError as error:
                # A full or broken disk under the cache: nothing was told yet, and a later try may find it mended.
                self.dependencies.observer.count("cache.failed")
                held.drop()
                raise UnavailableError(f"the cache folder cannot be used: {error.strerror}") from error

    def _settle(self, held: HeldRepo, group: Group) -> Sequence[Outcome]:
        try:
            return Turn(self.dependencies, held, group).take()
        except (WarmRepoDamagedError, ObjectMissingError, JournalDamagedError):
            self.dependencies.observer.count("repo.healed")
            held.drop()
            return Turn(self.dependencies, held, group).take()

    def _damaged(self, group: Group, error: JournalDamagedError) -> MemoryDamagedError:
        """Return the verdict on requests of an agent whose journal is damaged; nothing was changed.

        Raises:
            UnavailableError: the store is not the one that it was, or an entry of these requests may be on its way.
        """
        self.dependencies.confirm_store()
        layout = Layout.of(group.agent.org_id, group.agent.agent_id)
        key = layout.place_of(error.seq, in_base=error.in_base)
        if group.create.may_land:
            raise UnavailableError(f"the journal is damaged at {key}, and an answer was lost") from error
        self.dependencies.observer.count("journal.damaged")
        message = f"the journal of {group.agent} is damaged at {key}"
        log(logger, logging.ERROR, "journal.damaged", message, {"agent": str(group.agent), "key": key})
        return MemoryDamagedError(
            f"the memory of {group.agent} is damaged in the store at {key}: {error}; nothing was changed. Restore that "
            "object from a backup, then send the request again, with the same id if you like",
            {"key": key},
        )

    def close(self) -> None:
        """Write what waits in memory to the cache folder and let it go."""
        self.cache.close()
