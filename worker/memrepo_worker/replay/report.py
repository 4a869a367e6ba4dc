"""What a replay came to, in figures and in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from memrepo_worker.replay.plan import Plan
from memrepo_worker.replay.source import SourceCommit
from memrepo_worker.replay.verify import Verdict


@dataclass(frozen=True)
class Report:
    """The outcome. ``left_out`` counts, by reason, the changes that were not sent; ``seconds`` is the sending's."""

    agent: str
    head: str
    commits: int
    requests: int
    seconds: float
    left_out: dict[str, int]
    same_tree: int
    same_files: int
    first_different: str | None
    equal: bool
    commits_per_s: float


def report_on(
    agent: str,
    plan: Plan,
    history: Sequence[SourceCommit],
    shas: Sequence[str],
    verdicts: Sequence[Verdict],
    seconds: float,
) -> Report:
    """Sum up; ``plan`` is the one that the history went through."""
    counts = Counter(verdicts)
    pairs = zip(history, verdicts, strict=True)
    first_different = next((commit.sha for commit, verdict in pairs if verdict == "different"), None)
    return Report(
        agent=agent,
        head=shas[-1],
        commits=len(history),
        requests=plan.requests,
        seconds=round(seconds, 3),
        left_out=dict(plan.reasons.most_common()),
        same_tree=counts["same tree"],
        same_files=counts["same files"],
        first_different=first_different,
        equal=first_different is None,
        commits_per_s=round(len(history) / seconds, 1),
    )


def in_words(report: Report) -> str:
    """Return the report as people read it."""
    lines = [
        f"{report.commits} commits in {report.seconds:.2f} s: {report.commits_per_s:.0f} commits/s",
        f"{report.agent} is at {report.head}",
    ]
    if report.requests > report.commits:
        lines.append(
            f"{report.requests - report.commits} commits more than the original: some were over the limits"
        )
    if report.left_out:
        lines.append("files that were left out:")
        lines += [f"  {count:5}x {reason}" for reason, count in report.left_out.items()]
    if report.same_tree:
        lines.append(f"{report.same_tree} of {report.commits} trees are equal to the original's, to the bit")
    if report.same_files:
        lines.append(f"{report.same_files} of {report.commits} trees are equal but for what was left out")
    if report.first_different:
        lines.append(f"DIFFERENT from commit {report.first_different} on")
    return "\n".join(lines)
