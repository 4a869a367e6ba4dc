"""What a memory was forked from, as it says itself."""

from __future__ import annotations

from memrepo.limits import Limits
from memrepo.models import Origin
from memrepo.wire.requests.forks import GetOriginsRequest
from memrepo_worker.journal.entry import JournalDamagedError
from memrepo_worker.repos.draft import View
from memrepo_worker.repos.warm import WarmRepo
from memrepo_worker.service.commits import date_of
from memrepo_worker.service.forks.origin_lines import ORIGINS_BYTES_MAX, OriginLine, decode_origins


def origins_of(repo: WarmRepo) -> tuple[OriginLine, ...]:
    """Return what a memory was forked from, the nearest first.

    Raises:
        JournalDamagedError: the blob that says so is none.
    """
    sha, seq = repo.state.origin_sha, repo.state.seq
    if sha is None:
        return ()
    if repo.reader.size(sha) > ORIGINS_BYTES_MAX:
        raise JournalDamagedError(f"entry {seq} names an origin of {repo.reader.size(sha)} bytes", seq)
    try:
        return decode_origins(repo.reader.blob(sha))
    except ValueError as error:
        raise JournalDamagedError(f"entry {seq}: {error}", seq) from error


def get_origins(request: GetOriginsRequest, view: View, repo: WarmRepo, limits: Limits) -> list[Origin]:
    """Return what the memory was forked from."""
    return [
        Origin(
            org_id=line.agent.org_id,
            agent_id=line.agent.agent_id,
            sha=line.sha,
            at=date_of(line.at),
        )
        for line in origins_of(repo)
    ]
