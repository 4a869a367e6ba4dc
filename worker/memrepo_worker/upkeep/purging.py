"""Purging: what ``delete_repo`` has freed, and a bucket with versioning keeps all the same, is removed for good.

A delete puts markers over the entries below its seal and removes bases, segments and legacy files; with versioning
their bytes stay, as versions that are not current. Only those are removed here. A current version is never touched, but
for delete markers of S3, and these only after all that they hide: at no moment is anything there again that was not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from memrepo.errors import RepoNotFoundError
from memrepo_worker.bounds import Bounds
from memrepo_worker.group import Agent
from memrepo_worker.journal.accelerators import Accelerators
from memrepo_worker.journal.entry import JournalDamagedError, JournalUnreadableError
from memrepo_worker.journal.layout import CONTENT_BYTES_MIN, Layout
from memrepo_worker.store.interface import NotThereError, ObjectTooLargeError, Store, UnavailableError
from memrepo_worker.store.versions import KeptVersion, Versioned, fault_of_version_deletes
from memrepo_worker.upkeep.part_files import read_head


class NotPurgeableError(Exception):
    """Nothing can be purged here as things stand; the message says why, and what to do."""


@dataclass(frozen=True)
class Purge:
    """What is to be removed for good: first ``noncurrent``, then the ``delete_markers``, which hide nothing then."""

    noncurrent: tuple[KeptVersion, ...]
    delete_markers: tuple[KeptVersion, ...]

    @property
    def any(self) -> bool:
        """Whether there is anything to remove."""
        return bool(self.noncurrent or self.delete_markers)

    @property
    def size(self) -> int:
        """The bytes of all versions."""
        return sum(version.size for version in self.noncurrent)


@dataclass(frozen=True)
class Purger:
    """Purges memories of one store, whose own versions ``versioned`` lists and removes."""

    store: Store
    versioned: Versioned
    new_id: Callable[[], str]
    entry_bytes_max: int = Bounds().entry_bytes_max

    def plan(self, agent: Agent) -> Purge:
        """Return what the newest finished delete of an agent's memory, and those before it, left; remove nothing.

        Raises:
            RepoNotFoundError: no delete of that agent was finished.
            NotPurgeableError: the bucket has no versioning, or the delete is not at its end.
            JournalDamagedError, NewerJournalError: a base cannot be read.
            UnavailableError, RefusedError: call again; the message names a right that is missing.
        """
        layout = Layout.of(agent.org_id, agent.agent_id)
        seal = self._newest_seal(layout)
        if not seal:
            raise RepoNotFoundError(
                f"{agent}: no delete_repo was finished there, so nothing was freed",
                {"org_id": agent.org_id, "agent_id": agent.agent_id},
            )
        listed = [*self.versioned.versions(layout.prefix)]
        if all(version.is_current for version in listed) and not self.versioned.keeps_versions():
            raise NotPurgeableError("the bucket has no versioning: what was deleted there left no versions")
        if any(_is_left(layout, version, seal) for version in listed):
            raise NotPurgeableError(
                f"{agent}: the delete has not removed everything yet; ask a worker anything of that memory, which "
                "finishes the delete, then purge"
            )
        return _planned(layout, listed, seal)

    def purge(self, agent: Agent, plan: Purge) -> None:
        """Remove what was planned, and look that it is gone; done again, it goes on.

        Whether the server can do that is tried out before, on an object of its own.

        Raises:
            NotPurgeableError: it cannot; nothing was removed.
            UnavailableError, RefusedError: plan again; some may be removed.
        """
        fault = fault_of_version_deletes(self.store, self.versioned, self.new_id)
        if fault is not None:
            raise NotPurgeableError(f"nothing can be purged in this store: {fault}")
        self.versioned.delete_versions(plan.noncurrent)
        self.versioned.delete_versions(plan.delete_markers)
        planned = {(version.key, version.mark) for version in (*plan.noncurrent, *plan.delete_markers)}
        layout = Layout.of(agent.org_id, agent.agent_id)
        still = sum((each.key, each.mark) in planned for each in self.versioned.versions(layout.prefix))
        if still:
            raise UnavailableError(f"{self.store.name} lists {still} of what was just removed: purge again")

    def _newest_seal(self, layout: Layout) -> int:
        """Return the newest entry that is a seal with its base, which a delete writes; 0 where there is none."""
        there = Accelerators.of(layout, self.store.list(layout.bases))
        for seq in reversed(there.bases):
            try:
                if not read_head(self.store, layout.base(seq), seq, self.entry_bytes_max).refs:
                    return seq
            except NotThereError:
                continue  # folded further, or deleted, since it was listed
            except ObjectTooLargeError as error:
                raise JournalDamagedError(f"{error}, MEMREPO_ENTRY_BYTES_MAX", seq, in_base=True) from error
            except JournalUnreadableError as error:
                raise error.within_base() from error
        return 0


def _planned(layout: Layout, listed: Collection[KeptVersion], seal: int) -> Purge:
    """Return what of all versions is to be removed."""
    sealed_at_s = _sealed_at_s(layout, listed, seal)
    freed = [version for version in listed if _is_freed(layout, version, seal, sealed_at_s)]
    noncurrent = [version for version in freed if not version.is_current]
    going = {(version.key, version.mark) for version in noncurrent}
    staying = {
        version.key
        for version in listed
        if not version.is_removal and (version.key, version.mark) not in going
    }
    markers = [
        version
        for version in freed
        if version.is_current and version.is_removal and version.key not in staying
    ]
    return Purge(tuple(noncurrent), tuple(markers))


def _sealed_at_s(layout: Layout, listed: Collection[KeptVersion], seal: int) -> float:
    """Return when the seal's base was first there, by the store's clock: legacy files that came later are nobody's."""
    base = layout.base(seal)
    return min(
        (each.written_at_s for each in listed if each.key == base and each.size >= CONTENT_BYTES_MIN),
        default=0.0,
    )


def _is_freed(layout: Layout, version: KeptVersion, seal: int, sealed_at_s: float) -> bool:
    """Whether a version belongs to what the delete of that seal was to remove."""
    numbers = (layout.entry_seq(version.key), layout.accelerator_seq(version.key))
    if numbers != (None, None):
        return any(number is not None and number < seal for number in numbers)
    return layout.is_foreign(version.key) and version.written_at_s <= sealed_at_s


def _is_left(layout: Layout, version: KeptVersion, seal: int) -> bool:
    """Whether content lies below the seal still, for all to read: a delete is not at its end."""
    if not version.is_current or version.is_removal:
        return False
    seq, last = layout.entry_seq(version.key), layout.accelerator_seq(version.key)
    if seq is not None:
        return seq < seal and version.size > 0
    return last is not None and last < seal and version.size >= CONTENT_BYTES_MIN
