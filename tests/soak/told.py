"""Whether what agents were told is what stock git finds in the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from tests.soak.clients import ORG, Asked, Attempt, Clients
from tests.soak.verdict import history_of


@dataclass(frozen=True)
class Told:
    """How many requests met which fate. All but the first line must be 0.

    ``lost``: done, and not in the history, or nothing was said of it. ``told_wrong``: in the history, and its job says
    that it is not; or a sha that is none. ``failed``: no fault that was made explains the error.
    """

    commits: int = 0
    reads: int = 0
    cancelled: int = 0
    not_enqueued: int = 0
    may_be_enqueued: int = 0
    resent: int = 0

    lost: int = 0
    doubled: int = 0
    foreign: int = 0
    reordered: int = 0
    stale_reads: int = 0
    told_wrong: int = 0
    failed: int = 0

    @property
    def wrong(self) -> dict[str, int]:
        """What must not be there, and is."""
        names = [one.name for one in fields(self)][6:]
        return {name: getattr(self, name) for name in names if getattr(self, name)}


def judge(clients: Clients, store: Path, scratch: Path) -> tuple[Told, list[str]]:
    """Compare each agent's history with what its client was told; return the sum, and a line for each that is wrong."""
    parts: list[Told] = []
    lines: list[str] = []
    for agent in clients.agents:
        history = history_of(store / ORG / agent / "repo.git", scratch / agent)
        asked = [one for one in clients.asked.values() if one.agent == agent]
        parts.append(judge_agent(asked, history, lines))
    return Told(*(sum(getattr(part, one.name) for part in parts) for one in fields(Told))), lines


def judge_agent(asked: Sequence[Asked], history: Sequence[tuple[str, str]], lines: list[str]) -> Told:
    """Compare what was asked of one agent with its history, sha and request id of each commit, oldest first."""
    writes = {one.request_id: one for one in asked if not one.is_read}
    ids = [request_id for _, request_id in history]
    counts = Counter(ids)
    shas = {sha: at for at, (sha, _) in enumerate(history)}
    fates = Counter(
        fate for one in asked for fate in _fates(one, counts[one.request_id] > 0, shas, history, lines)
    )
    attempts = [attempt for one in asked for attempt in one.attempts]
    said = Counter(attempt.outcome for attempt in attempts)
    return Told(
        commits=len(writes),
        reads=len(asked) - len(writes),
        cancelled=said["cancelled"],
        not_enqueued=said["not enqueued"],
        may_be_enqueued=said["may be enqueued"],
        resent=sum(attempt.resent for attempt in attempts),
        lost=fates["lost"],
        doubled=sum(count - 1 for count in counts.values()),
        foreign=sum(one not in writes for one in ids),
        reordered=_reordered([writes[one] for one in ids if one in writes], lines),
        stale_reads=sum(_is_stale(one, writes, shas, ids) for one in asked if one.is_read),
        told_wrong=fates["told wrong"],
        failed=fates["failed"],
    )


def _fates(
    one: Asked, there: bool, shas: Mapping[str, int], history: Sequence[tuple[str, str]], lines: list[str]
) -> list[str]:
    fates = [_fate(one, attempt, there, shas, history) for attempt in one.attempts]
    if there and not one.is_read and all(attempt.outcome in _NOT_THERE for attempt in one.attempts):
        fates.append("told wrong")
    wrong = [fate for fate in fates if fate]
    if wrong:
        lines.append(
            f"{wrong} {'read' if one.is_read else 'commit'} of {one.agent}: {one.attempts}, {there=}"
        )
    return wrong


_NOT_THERE = ("cancelled", "not enqueued", "failed")


def _fate(
    one: Asked,
    attempt: Attempt,
    there: bool,
    shas: Mapping[str, int],
    history: Sequence[tuple[str, str]],
) -> str:
    """Return what is wrong with what one call was told, or nothing."""
    if not attempt.outcome:
        return "lost"
    if attempt.outcome == "failed" or (attempt.outcome == "cancelled" and not one.cancel_asked):
        return "failed"
    if attempt.outcome == "done":
        if not one.is_read and not there:
            return "lost"
        if attempt.sha not in shas:
            return "told wrong"
        if not one.is_read and history[shas[attempt.sha]][1] != one.request_id:
            return "told wrong"
    return ""


def _reordered(writes: Sequence[Asked], lines: list[str]) -> int:
    """Count the commits for which no call, and no resend, explains where they are in the history.

    What is sent again takes its place where it is sent again: before whatever is called for after that.
    """
    at, wrong = 0, 0
    for one in writes:
        attempts = [attempt for attempt in one.attempts if attempt.outcome != "not enqueued"]
        if any(attempt.may_come_after(at) for attempt in attempts):
            at = min(max(at, attempt.place) for attempt in attempts if attempt.may_come_after(at))
        elif attempts:
            wrong += 1
            lines.append(f"reordered after {at}: {one}")
    return wrong


def _is_stale(read: Asked, writes: Mapping[str, Asked], shas: Mapping[str, int], ids: Sequence[str]) -> bool:
    """Whether a read missed a commit that its client had called for, or had sent again, before."""
    attempt = read.attempts[0]
    if attempt.sha not in shas:
        return False  # counted elsewhere
    later = (writes[one] for one in ids[shas[attempt.sha] + 1 :] if one in writes)
    return any(
        all(each.outcome == "done" and not each.may_come_after(attempt.place) for each in one.attempts)
        for one in later
    )
