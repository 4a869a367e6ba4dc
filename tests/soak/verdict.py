"""What stock git finds in the store afterwards, against what was sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.soak.load import Load, Sent
from tests.support.stock_git import git, restore


@dataclass(frozen=True)
class Verdict:
    """How many requests of a soak met which fate."""

    commits: int
    reads: int
    lost: int
    doubled: int
    foreign: int
    reordered: int
    stale_reads: int
    failed: int


def judge(load: Load, store: Path, scratch: Path) -> Verdict:
    """Compare every agent's history in the store with what its producer enqueued."""
    parts = [_judge_agent(load, agent, store, scratch) for agent in load.agents]
    return Verdict(*(sum(getattr(part, name) for part in parts) for name in Verdict.__dataclass_fields__))


def _judge_agent(load: Load, agent: str, store: Path, scratch: Path) -> Verdict:
    commits, reads = load.commits(agent), load.reads(agent)
    history = history_of(store / "acme" / agent / "repo.git", scratch / agent) if commits else []
    ids = [request_id for _, request_id in history]
    sent = {one.request.request_id: one for one in commits}
    counts = Counter(ids)
    return Verdict(
        commits=len(commits),
        reads=len(reads),
        lost=sum(request_id not in counts for request_id in sent),
        doubled=sum(count - 1 for count in counts.values()),
        foreign=sum(request_id not in sent for request_id in ids),
        reordered=_reordered([sent[request_id].places for request_id in ids if request_id in sent]),
        stale_reads=sum(not _saw_all_before(read, commits, history) for read in reads),
        failed=sum((one.meta or {}).get("status") != "SUCCESS" for one in [*commits, *reads]),
    )


def history_of(folder: Path, into: Path) -> list[tuple[str, str]]:
    """Return sha and request id of every commit of an agent's folder in the store, oldest first."""
    repo = restore(folder, into)
    pattern = "%H %(trailers:key=Request-Id,valueonly,separator=%x2C)"
    lines = git(repo, "log", "--reverse", f"--format={pattern}", "main").decode().splitlines()
    return [(sha, request_id) for sha, _, request_id in (line.partition(" ") for line in lines)]


def _reordered(places: Sequence[Sequence[int]]) -> int:
    """Count the commits for which no moment of sending explains where they are in the history."""
    at, wrong = 0, 0
    for moments in places:
        later = [moment for moment in moments if moment > at]
        if later:
            at = min(later)
        else:
            wrong += 1
    return wrong


def _saw_all_before(read: Sent, commits: Sequence[Sent], history: Sequence[tuple[str, str]]) -> bool:
    if read.meta is None or read.meta["status"] != "SUCCESS":
        return True  # counted as failed
    shas = [sha for sha, _ in history]
    seen = {request_id for _, request_id in history[: shas.index(read.meta["result"]) + 1]}
    return all(one.request.request_id in seen for one in commits if one.places[-1] < read.places[0])
