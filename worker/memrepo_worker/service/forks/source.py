"""The memory that is forked: its warm repository where this worker has one, as a fork waits in that memory's queue.

Else it is read from the store as a stranger reads it, without a right to it, and without a trace. What is read then is
one state of it, the newest when its journal was listed. Another owner may go on writing, fold, or delete it meanwhile:
entries never change, so what was listed is read, or the journal is looked at again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from memrepo.errors import (
    MemoryDamagedError,
    RepoNotAdoptedError,
    RepoNotFoundError,
    TooLargeError,
    WorkerOutdatedError,
)
from memrepo_worker.bounds import FORK_BYTES
from memrepo_worker.git.command import GitOverBoundsError
from memrepo_worker.git.reader import ObjectRefusedError
from memrepo_worker.group import Agent, Lease
from memrepo_worker.journal.entry import JournalDamagedError, JournalUnreadableError, NewerJournalError
from memrepo_worker.journal.layout import Layout
from memrepo_worker.logs import log
from memrepo_worker.repos.cache import HeldRepo
from memrepo_worker.repos.warm import WarmRepo
from memrepo_worker.service.opening import Opener, ServiceDependencies
from memrepo_worker.service.writes.settled import NotSettledError

logger = logging.getLogger(__name__)


def warm_source(dependencies: ServiceDependencies, held: HeldRepo, lease: Lease) -> WarmRepo | None:
    """Return the warm repository that is held, at the journal's newest entry and with all of it on disk; or None.

    Raises:
        TurnGoesOnError: a delete is being finished.
        WarmRepoDamagedError, ObjectMissingError: something in it is wrong.
        UnavailableError, RefusedError, OSError, GitTroubleError, JournalUnreadableError, GitOverBoundsError: as
            ``open_source``.
    """
    if not held.is_warm:
        return None
    opener = Opener(dependencies, held, Layout.of(held.agent.org_id, held.agent.agent_id), lease)
    repo = opener.current(dependencies.tip_proof_s)  # a fork reads it, so it is no staler than a read may be
    if not repo.state.exists:
        return None
    repo.save()
    return repo


def open_source(dependencies: ServiceDependencies, place: HeldRepo, agent: Agent, lease: Lease) -> WarmRepo:
    """Return a repository with all that an agent's journal holds, at a place of its own.

    Raises:
        RepoNotFoundError, RepoNotAdoptedError: there is nothing to read.
        UnavailableError, RefusedError: the store does not give it.
        OSError, GitTroubleError: the machine has no room for it.
        JournalUnreadableError, GitOverBoundsError: see ``naming_source``.
    """
    layout = Layout.of(agent.org_id, agent.agent_id)
    opener = Opener(dependencies, place, layout, lease)
    repo = opener.read_once()
    if not repo.state.exists:
        raise _absent(agent, legacy=opener.has_legacy_layout())
    return repo


@contextmanager
def naming_source(dependencies: ServiceDependencies, agent: Agent) -> Iterator[None]:
    """Have what is wrong with the memory that is forked be told as that, and not as the fork's own.

    Raises:
        TooLargeError: git would need more for it than our bounds allow.
        NotSettledError: it is damaged, or what a newer memrepo wrote.
        UnavailableError: the store is another one by now.
    """
    layout = Layout.of(agent.org_id, agent.agent_id)
    try:
        yield
    except NewerJournalError as error:
        raise _newer(agent, _key(dependencies, layout, error), error) from error
    except (JournalDamagedError, ObjectRefusedError) as error:
        raise _damaged(dependencies, agent, _key(dependencies, layout, error), error) from error
    except GitOverBoundsError as error:
        dependencies.observer.count(FORK_BYTES)
        raise TooLargeError.of(
            "agent_id", f"{agent} needs more of git than a worker may give it: {error}"
        ) from error


def _absent(agent: Agent, *, legacy: bool) -> RepoNotFoundError:
    details = {"org_id": agent.org_id, "agent_id": agent.agent_id}
    if legacy:
        return RepoNotAdoptedError(
            f"{agent}, which was to be forked, is stored in the layout of a Letta server: run "
            f"`memrepo store adopt {agent.org_id} {agent.agent_id}` once",
            details,
        )
    return RepoNotFoundError(f"{agent} has no memory that could be forked: name one that is there", details)


def _key(dependencies: ServiceDependencies, layout: Layout, error: Exception) -> str:
    """Return where a journal cannot be read; raises ``UnavailableError`` where the store is another one by now."""
    dependencies.confirm_store()
    if isinstance(error, JournalUnreadableError):
        return layout.place_of(error.seq, in_base=error.in_base)
    return layout.journal


def _newer(agent: Agent, key: str, error: Exception) -> NotSettledError:
    return NotSettledError(
        WorkerOutdatedError(
            f"the memory of {agent}, which was to be forked, was written by a newer memrepo: upgrade the workers, then "
            f"send the request again, with the same id if you like ({error}); nothing was changed",
            {"key": key},
        )
    )


def _damaged(dependencies: ServiceDependencies, agent: Agent, key: str, error: Exception) -> NotSettledError:
    dependencies.observer.count("journal.damaged")
    message = f"the journal of {agent}, which was to be forked, is damaged at {key}"
    log(logger, logging.ERROR, "journal.damaged", message, {"agent": str(agent), "key": key})
    return NotSettledError(
        MemoryDamagedError(
            f"the memory of {agent}, which was to be forked, is damaged in the store at {key}: {error}; nothing was "
            "changed. Restore that object from a backup, then send the request again, with the same id if you like",
            {"key": key},
        )
    )
