"""The service: the group handler that the mailbox calls, over a store and a cache of warm repositories."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from memrepo.errors import MemoryDamagedError, WorkerOutdatedError
from memrepo_worker.git.command import GitOverBoundsError, GitUnusableError
from memrepo_worker.git.reader import ObjectAbsentError, ObjectRefusedError
from memrepo_worker.group import Agent, Group, Outcome
from memrepo_worker.journal.entry import JournalDamagedError, JournalUnreadableError, NewerJournalError
from memrepo_worker.journal.layout import Layout
from memrepo_worker.journal.reading.object_places import LackedObjects, holding, naming
from memrepo_worker.journal.reading.presence import EntryLostError
from memrepo_worker.logs import log
from memrepo_worker.repos.cache import HeldRepo, RepoCache
from memrepo_worker.service.machine import DAMAGE, TROUBLE, CacheTrouble, words_of
from memrepo_worker.service.opening import ServiceDependencies, journal_of
from memrepo_worker.service.store_reads.memories import answer_about_an_org, is_about_an_org
from memrepo_worker.service.turn import Turn
from memrepo_worker.store.interface import UnavailableError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Service:
    """Settles groups. Different agents' groups may run side by side; one agent's wait for each other."""

    dependencies: ServiceDependencies
    cache: RepoCache
    trouble: CacheTrouble = field(default_factory=CacheTrouble)
    lacked: LackedObjects = field(default_factory=LackedObjects)

    def __call__(self, group: Group) -> Sequence[Outcome]:
        """Settle a group; see ``GroupHandler``.

        A local copy that turns out to be damaged, or that the journal does not follow on, is thrown away and opened
        anew, once; so is one that the machine does not let us use (a full disk, no right, no git), after idle ones
        have made room. If that helps as little, the group is served from a copy outside the cache folder, made for
        it alone. What is wrong with the journal when it was opened anew is wrong in the store, and told so; so is what
        a newer memrepo wrote.

        Raises:
            UnavailableError: also when the machine's trouble leaves no place to open a repository, or when git would
                need more for this one than our bounds allow: nothing was told yet, and a later try may find it mended.
        """
        if is_about_an_org(group):
            return answer_about_an_org(group, self.dependencies)
        try:
            return self._settle_held(group)
        except TROUBLE as error:  # where a place is looked for, or made room for
            raise self._waiting(error) from error

    def _settle_held(self, group: Group) -> Sequence[Outcome]:
        first = group.requests[0]  # what is about another memory than its agent's is alone in its group
        with self.cache.hold(group.agent) as held:
            if first.memory == (first.org_id, first.agent_id):
                return self._settle_told(held, group)
            memory = Agent(*first.memory)
            with self._place_of_another(held, memory) as place:
                return self._settle_told(place, replace(group, agent=memory))

    def _settle_told(self, held: HeldRepo, group: Group) -> Sequence[Outcome]:
        """Settle a group, with a verdict where its journal cannot be read."""
        try:
            return self._settle(held, group)
        except EntryLostError as error:  # the copy here has what the store has lost
            return [self._damaged(group, error)] * len(group.requests)
        except JournalDamagedError as error:
            held.drop()
            return [self._damaged(group, error)] * len(group.requests)
        except ObjectRefusedError as error:
            held.drop()
            damage = holding(journal_of(self.dependencies, group.agent), error.sha, str(error))
            return [self._damaged(group, damage)] * len(group.requests)
        except NewerJournalError as error:
            held.drop()
            return [self._newer(group, error)] * len(group.requests)
        except (
            GitOverBoundsError
        ) as error:  # a setting of ours: the machine, and the cache, are as they should be
            held.drop()
            self.dependencies.observer.count("repo.over_bounds")
            raise UnavailableError(f"the memory cannot be opened: {error}") from error

    @contextmanager
    def _place_of_another(self, held: HeldRepo, memory: Agent) -> Iterator[HeldRepo]:
        """Yield where the repository is kept that a fork begins, beside its agent's.

        Its owner may be another worker, so nothing of it stays here, and nothing here is waited for. As for every
        entry, it is its create that decides.

        Raises:
            UnavailableError: the machine has no place for it.
        """
        with ExitStack() as stack:
            try:
                place = stack.enter_context(held.beside(memory))
            except OSError as error:
                found = next(stack.enter_context(closing(self.cache.elsewhere(memory))), None)
                if found is None:
                    raise self._waiting(error) from error
                place = found
            yield place

    def _settle(self, held: HeldRepo, group: Group) -> Sequence[Outcome]:
        try:
            warm = held.is_warm
        except OSError as error:
            self._met(error)
            return self._elsewhere(group, error)
        if not warm and (trouble := self.trouble.lasting()):
            return self._elsewhere(group, trouble)
        try:
            outcomes = self._take(held, group)
        except EntryLostError:
            raise
        except (*DAMAGE, JournalDamagedError, ObjectRefusedError) as error:
            lacking = self._lacking(held, group, error, partial(self._anew, held), is_new=False)
            if lacking is not None:
                return lacking
            self.dependencies.observer.count("repo.healed")
        except (
            GitUnusableError
        ) as error:  # no other place helps, and what is warm serves all that needs no git
            raise self._waiting(error) from error
        except TROUBLE as error:
            self._met(error)
            self.cache.make_room()
        else:
            if not warm:
                self.trouble.over()
            return outcomes
        held.drop()
        return self._anew(held, group)

    def _anew(self, held: HeldRepo, group: Group) -> Sequence[Outcome]:
        """Settle a group with a copy opened cold; if that is of no use either, elsewhere."""
        try:
            return self._take(held, group)
        except GitUnusableError as error:
            raise self._waiting(error) from error
        except (*DAMAGE, *TROUBLE) as error:
            lacking = self._lacking(held, group, error, partial(self._anew, held))
            if lacking is not None:
                return lacking
            self._met(error)
            held.drop()
            return self._elsewhere(group, error)

    def _lacking(
        self,
        held: HeldRepo,
        group: Group,
        error: Exception,
        settle: Callable[[Group], Sequence[Outcome]],
        *,
        is_new: bool = True,
    ) -> Sequence[Outcome] | None:
        """Settle the first request of a group of which one needs an object that its journal lacks, by ``settle``.

        None where that is not known: an object may also be what a copy lacks, as long as that is not new, and sound.
        """
        repo = held.find()
        if not isinstance(error, ObjectAbsentError) or repo is None:
            return None
        place = str(group.agent), error.sha, repo.state.seq
        known = self.lacked.find(*place)
        if known is None and (not is_new or repo.packs.fault() is not None):
            return None
        if len(group.requests) > 1:
            first = group.requests[:1]
            return settle(Group(group.agent, first, group.lease, group.create, group.places, group.confirm))
        if known is None:
            known = naming(journal_of(self.dependencies, group.agent), error.sha)
            self.lacked.keep(*place, known)
        return [self._damaged(group, known)]

    def _elsewhere(self, group: Group, cause: Exception) -> Sequence[Outcome]:
        """Settle a group with a copy outside the cache folder, made for it alone."""
        for held in self.cache.elsewhere(group.agent):
            try:
                outcomes = self._take(held, group)
            except (*DAMAGE, *TROUBLE) as error:
                cause = error
                lacking = self._lacking(held, group, error, partial(self._elsewhere, cause=error))
                if lacking is not None:
                    return lacking
            else:
                self.dependencies.observer.count("cache.passed_by")
                return outcomes
        raise self._waiting(cause) from cause

    def _waiting(self, error: Exception) -> UnavailableError:
        self.dependencies.observer.count("machine.trouble")
        return UnavailableError(f"the worker's machine is in trouble: {words_of(error)}")

    def _take(self, held: HeldRepo, group: Group) -> Sequence[Outcome]:
        return Turn(self.dependencies, held, group).take()

    def _met(self, error: Exception) -> None:
        self.dependencies.observer.count("cache.failed")
        self.trouble.met(error)

    def _damaged(self, group: Group, error: JournalDamagedError) -> MemoryDamagedError:
        """Return the verdict on requests of an agent whose journal is damaged; nothing was changed.

        Raises:
            UnavailableError: the store is not the one that it was, or an entry of these requests may be on its way.
        """
        key = self._key_of(group, error, "damaged")
        self.dependencies.observer.count("journal.damaged")
        message = f"the journal of {group.agent} is damaged at {key}"
        where, advice = {"agent": str(group.agent), "key": key}, ""
        if isinstance(error, EntryLostError):
            self.dependencies.observer.count("journal.entry_lost")
            message += f"; what was in it is in this worker's copy, {error.copy}: set that aside"
            where["copy"] = error.copy
            advice = "; the log of its worker names a copy that has what was in it"
        log(logger, logging.ERROR, "journal.damaged", message, where)
        return MemoryDamagedError(
            f"the memory of {group.agent} is damaged in the store at {key}: {error}; nothing was changed. Restore that "
            f"object from a backup, then send the request again, with the same id if you like{advice}",
            {"key": key},
        )

    def _newer(self, group: Group, error: NewerJournalError) -> WorkerOutdatedError:
        """Return the verdict on requests of an agent whose journal a newer memrepo wrote; nothing was changed.

        Raises:
            UnavailableError: as above.
        """
        key = self._key_of(group, error, "newer than this worker")
        self.dependencies.observer.count("journal.newer")
        message = f"the journal of {group.agent} was written by a newer memrepo at {key}: upgrade this worker"
        log(logger, logging.ERROR, "journal.newer", message, {"agent": str(group.agent), "key": key})
        return WorkerOutdatedError(
            f"the memory of {group.agent} was written by a newer memrepo: upgrade the workers, then send the request "
            f"again, with the same id if you like ({error}); nothing was changed",
            {"key": key},
        )

    def _key_of(self, group: Group, error: JournalUnreadableError, what: str) -> str:
        """Return the key at which a journal cannot be read, where it is right to tell that."""
        self.dependencies.confirm_store()
        layout = Layout.of(group.agent.org_id, group.agent.agent_id)
        key = layout.place_of(error.seq, in_base=error.in_base)
        if group.create.may_land:
            raise UnavailableError(f"the journal is {what} at {key}, and an answer was lost") from error
        return key

    def close(self) -> None:
        """Write what waits in memory to the cache folder and let it go."""
        self.cache.close()
