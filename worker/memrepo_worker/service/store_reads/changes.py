"""What the entries of a journal have changed: the journal itself is the log of it."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import count

from memrepo.errors import InvalidRequestError
from memrepo.models import Change, ChangeFeed
from memrepo.wire.requests.base import Request
from memrepo.wire.requests.feed import GetChangesRequest
from memrepo_worker.git.objects import NULL_SHA, printable
from memrepo_worker.git.pack_sizes import find_blob
from memrepo_worker.git.reader import Reader
from memrepo_worker.journal.entry import Entry, JournalDamagedError, ledger_bytes_max
from memrepo_worker.journal.ledger import COMMITTED, DELETED, DONE, LedgerLine, decode_lines
from memrepo_worker.journal.reading.parts import LocalCopyStaleError
from memrepo_worker.journal.reading.reader import JournalReader
from memrepo_worker.journal.seal import ends_repo
from memrepo_worker.repos.warm import WarmRepo
from memrepo_worker.service.commits import date_of
from memrepo_worker.service.refs import commit_of, is_commit, tag_ref
from memrepo_worker.store.interface import UnavailableError

_COMMITS_MAX = 1_000
_READ_BYTES_MAX = 64 * 1024 * 1024


def changes_since(request: GetChangesRequest, repo: WarmRepo, journal: JournalReader) -> ChangeFeed:
    """Return what the entries after ``request.after`` have changed, of at most ``request.limit`` of them.

    What lies below the newest seal is not looked at: the delete stands for it. Large entries end it early.

    Raises:
        InvalidRequestError: there is no such entry, so whoever goes on after it would be told nothing.
        UnavailableError: the store cannot be read, or what we know of it is out of date; ask again.
    """
    newest, seal = repo.state.seq, repo.state.seal
    if is_ahead(request, repo):
        raise InvalidRequestError.of(
            "after",
            f"is {request.after}, and the newest entry is {newest}: the store was set back, as to a backup, or the "
            f"number is of another memory. Read what counts anew, then go on after {newest}",
            newest=newest,
        )
    after = newest if request.after is None else max(request.after, seal - 1)
    if after == newest:
        return ChangeFeed(changes=[], seq=newest, newest=newest)
    has_before = after > max(seal, 0)
    # What another worker has written since is told once it is here: its commits cannot be read before.
    number = min(request.limit, newest - after)
    entries = journal.some(after if has_before else after + 1, number + has_before)
    changes: list[Change] = []
    refs: Mapping[str, str] = {}
    resume_after, read = request.after or 0, 0
    try:
        for entry in entries:
            if entry.seq > after:
                changes += _changes_of(entry, refs, resume_after, repo.reader)
                resume_after = entry.seq
            refs = entry.refs
            read += entry.size
            if read > _READ_BYTES_MAX and resume_after > after:
                break
    except LocalCopyStaleError as error:
        repo.trust = repo.trust.doubted()
        raise UnavailableError(f"the journal has moved on: {error}") from error
    return ChangeFeed(changes=changes, seq=max(resume_after, after), newest=newest)


def is_ahead(request: Request, repo: WarmRepo) -> bool:
    """Whether the changes are asked for after an entry that is not known here.

    Numbers are never taken back, so it is an entry that another worker has written since, or one that the store lost.
    """
    return isinstance(request, GetChangesRequest) and (request.after or 0) > repo.state.seq


def _changes_of(
    entry: Entry, before: Mapping[str, str], resume_after: int, reader: Reader
) -> Sequence[Change]:
    """Return what one entry has changed of the refs before it."""
    lines = _lines_of(entry)
    if ends_repo(entry.refs, lines):
        ended = next(line for line in reversed(lines) if line.verdict == DELETED)
        old = None if ended.sha == NULL_SHA else ended.sha
        return [_change(entry.seq, "HEAD", (old, None), [], [ended], date_of(ended.enqueued_at), entry.seq)]
    moved = [
        (name, before.get(name), entry.refs.get(name))
        for name in sorted(before.keys() | entry.refs.keys())
        if before.get(name) != entry.refs.get(name)
    ]
    changes = []
    for number, (name, old, new) in enumerate(moved, start=1):
        commits = _commits_between(reader, before.values() if old is None else (old,), new)
        ours = _lines_about(lines, commits, (old, new, *_tagged(name, (old, new), reader)))
        at = date_of(max((line.enqueued_at for line in ours), default=_time_of(reader, new or old)))
        cursor = entry.seq if number == len(moved) else resume_after
        changes.append(_change(entry.seq, name, (old, new), commits, ours, at, cursor))
    return changes


def _change(
    seq: int,
    ref: str,
    ends: tuple[str | None, str | None],
    commits: list[str],
    lines: Iterable[LedgerLine],
    at: datetime,
    resume_after: int,
) -> Change:
    return Change(
        seq=seq,
        ref=printable(ref),
        old=ends[0],
        new=ends[1],
        commits=commits,
        request_ids=[line.request_id for line in lines],
        at=at,
        resume_after=resume_after,
    )


def _lines_of(entry: Entry) -> Sequence[LedgerLine]:
    data = find_blob(entry.pack, entry.ledger_sha, ledger_bytes_max(entry.size))
    try:
        if data is None:
            raise ValueError("its pack has no ledger")
        return decode_lines(data)
    except ValueError as error:
        raise JournalDamagedError(f"entry {entry.seq}: {error}", entry.seq) from error


def _tagged(name: str, ends: Iterable[str | None], reader: Reader) -> list[str]:
    """Return the commits that a tag leads to, by which requests name it, where it is annotated."""
    if not name.startswith(tag_ref("")):
        return []
    there = [sha for sha in ends if sha is not None and reader.maybe(sha) is not None]
    return [commit for sha in there if (commit := commit_of(sha, reader)) is not None]


def _lines_about(
    lines: Iterable[LedgerLine], commits: Iterable[str], ends: tuple[str | None, ...]
) -> list[LedgerLine]:
    """Return the lines of the requests that moved a ref: they made its commits, or set it where it was or is."""
    made = set(commits)
    return [
        line
        for line in lines
        if (line.verdict == COMMITTED and (line.sha in made or line.sha == ends[1]))
        or (line.verdict == DONE and line.sha in ends)
    ]


def _commits_between(reader: Reader, old: Iterable[str], new: str | None) -> list[str]:
    """Return the commits that lead to ``new`` and not to one of ``old``, by committer date, the oldest first."""
    if new is None or not is_commit(new, reader):
        return []
    is_known: dict[str, bool] = {}
    queue: list[tuple[int, int, str]] = []
    found: list[str] = []
    serial = count()
    oldest = math.inf

    def push(sha: str, *, known: bool) -> None:
        if is_known.get(sha) in (True, known):
            return
        is_known[sha] = known
        reader.walked()
        heapq.heappush(queue, (-reader.commit(sha).committer.timestamp, next(serial), sha))

    push(new, known=False)
    for sha in old:
        if is_commit(sha, reader):
            push(sha, known=True)
    # What is known may be at a commit later than what is new: until all that is as old as what was found is looked at.
    while queue and (-queue[0][0] >= oldest or not all(is_known[sha] for _, _, sha in queue)):
        if len(found) == _COMMITS_MAX:
            break
        date, _, sha = heapq.heappop(queue)
        if not is_known[sha]:
            found.append(sha)
            oldest = -date
        for parent in reader.commit(sha).parents:
            push(parent, known=is_known[sha])
    return [sha for sha in reversed(found) if not is_known[sha]]


def _time_of(reader: Reader, sha: str | None) -> float:
    return float(reader.commit(sha).committer.timestamp) if sha and is_commit(sha, reader) else 0.0
