"""What a replay came to, in figures and in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from memrepo.cli.ending import plain
from memrepo.wording import counted
from memrepo_worker.git.objects import printable
from memrepo_worker.replay.plan import LeftOut
from memrepo_worker.replay.send import Sender
from memrepo_worker.replay.source import SourceCommit
from memrepo_worker.replay.verify import Verdict

NAMED_MAX = 3
"""How many of the files that were left out for one reason are named; ``--json`` names all."""


@dataclass(frozen=True)
class Report:
    """The outcome; ``seconds`` is the sending's.

    ``without_commit`` counts the commits that made none here, as they change nothing that memrepo keeps, and
    ``side_commits`` those of merged side branches, which a replay does not send; None where that is not known.
    ``left_out`` counts, by reason, the changes that were not sent; ``left_out_files`` names each file that they were
    to, with the first commit of the original in which it was left out.
    """

    agent: str
    head: str
    commits: int
    requests: int
    seconds: float
    without_commit: int
    side_commits: int | None
    left_out: dict[str, int]
    left_out_files: tuple[LeftOut, ...]
    same_tree: int
    same_but_for_spelling: int
    same_files: int
    first_different: str | None
    equal: bool
    commits_per_s: float


def report_on(
    agent: str,
    sender: Sender,
    history: Sequence[SourceCommit],
    shas: Sequence[str],
    verdicts: Sequence[Verdict],
    seconds: float,
) -> Report:
    """Sum up what a sender has sent."""
    plan = sender.plan
    counts = Counter(verdicts)
    pairs = zip(history, verdicts, strict=True)
    first_different = next((commit.sha for commit, verdict in pairs if verdict == "different"), None)
    return Report(
        agent=agent,
        head=shas[-1],
        commits=len(history),
        requests=plan.requests,
        seconds=round(seconds, 3),
        without_commit=len(sender.without_commit),
        side_commits=sender.source.side_commits(history),
        left_out=dict(Counter(omission.reason for omission in plan.omissions).most_common()),
        left_out_files=tuple(_first_of_each(plan.omissions)),
        same_tree=counts["same tree"],
        same_but_for_spelling=counts["same but for spelling"],
        same_files=counts["same files"],
        first_different=first_different,
        equal=first_different is None,
        commits_per_s=round(len(history) / seconds, 1),
    )


def in_words(report: Report) -> str:
    """Return the report as people read it."""
    lines = [
        f"{counted(report.commits, 'commit')} in {report.seconds:.2f} s: {report.commits_per_s:.0f} commits/s",
        f"{report.agent} is at {report.head}",
    ]
    if report.requests > report.commits:
        more = counted(report.requests - report.commits, "commit")
        lines.append(f"{more} more than the original: some were over the limits")
    if report.without_commit:
        what = counted(report.without_commit, "commit")
        lines.append(f"{what} of the original made none here, without a change of what memrepo keeps")
    if report.side_commits:
        what, are = counted(report.side_commits, "commit"), "is" if report.side_commits == 1 else "are"
        lines.append(
            f"{what} of merged side branches {are} left out: a replay follows the first parents of HEAD"
        )
    if report.left_out:
        lines.append("files that were left out:")
        for reason, count in report.left_out.items():
            lines.append(f"  {count:5}x {reason}")
            lines += _named([file for file in report.left_out_files if file.reason == reason])
    if report.same_tree:
        lines.append(f"{report.same_tree} of {report.commits} trees are equal to the original's, to the bit")
    if report.same_but_for_spelling:
        lines.append(
            f"{report.same_but_for_spelling} of {report.commits} trees hold equal files, but the original does not "
            "spell them as git does (old or padded modes, empty folders)"
        )
    if report.same_files:
        lines.append(f"{report.same_files} of {report.commits} trees are equal but for what was left out")
    if report.first_different:
        lines.append(f"DIFFERENT from commit {report.first_different} on")
    return "\n".join(lines)


def _first_of_each(omissions: Iterable[LeftOut]) -> Iterator[LeftOut]:
    """Yield each file once for each reason, its path as JSON can carry it."""
    seen = set()
    for omission in omissions:
        if (omission.path, omission.reason) not in seen:
            seen.add((omission.path, omission.reason))
            yield replace(omission, path=printable(omission.path))


def _named(files: Sequence[LeftOut]) -> Iterator[str]:
    for file in files[:NAMED_MAX]:
        yield f"         {_on_one_line(file.path)}, from commit {file.commit[:12]} on"
    if len(files) > NAMED_MAX:
        yield f"         and {len(files) - NAMED_MAX} more: --json names them"


def _on_one_line(path: str) -> str:
    return plain(path.replace("\n", "\r"))  # what steers a terminal is replaced
