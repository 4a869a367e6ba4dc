"""``memrepo replay``: a git repository's history, through the queue, as one agent's memory."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import click

from memrepo.cli.common import client, json_option, settings_here
from memrepo.cli.ending import CommandError
from memrepo.cli.interrupt import INTERRUPTED
from memrepo.cli.numbers import WholeNumber
from memrepo.errors import RepoExistsError, RepoNotFoundError
from memrepo.limits import Limits
from memrepo.repo import MemoryRepo
from memrepo_worker.assembly import build_git
from memrepo_worker.cli.failures import translating_failures
from memrepo_worker.cli.progress import Progress
from memrepo_worker.observe import Counters
from memrepo_worker.replay.plan import Plan
from memrepo_worker.replay.report import Report, in_words, report_on
from memrepo_worker.replay.send import Sender
from memrepo_worker.replay.source import SourceCommit, SourceRepository
from memrepo_worker.replay.verify import Verifier
from memrepo_worker.settings import WorkerSettings

T = TypeVar("T")


@click.command()
@click.argument("path", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--org", metavar="ORG", default="replay", show_default=True, help="Whose agent.")
@click.option("--agent", metavar="AGENT", help="The agent, who must be new.  [default: the folder's name]")
@click.option("--limit", metavar="N", type=WholeNumber(1), help="Replay only the first N commits.")
@json_option
def replay(path: Path, org: str, agent: str | None, limit: int | None, as_json: bool) -> None:
    """Replay the first-parent history of the git repository at PATH as one agent's memory.

    Commits go through the queue one by one, many under way at once. Then every commit's files are read back
    through the queue and compared; the exit code is 1 if any differs. Side branches, symbolic links, submodules and
    whatever memrepo refuses are left out and counted; a commit over the limits is split. Of the repository nothing
    is run, obeyed or fetched.
    """
    settings = settings_here()
    with translating_failures():
        git = build_git(Counters(), WorkerSettings.from_env().git_caps)
        git.require_version()
        source = SourceRepository.open(path, git)
        history = source.history(limit)
        with client() as repos:
            repo = repos.repo(org_id=org, agent_id=agent or agent_name(path))
            _require_new(repo)
            report = _replay(repo, source, history, settings.limits, show=not as_json)
    click.echo(json.dumps(asdict(report)) if as_json else in_words(report))
    if not report.equal:
        raise SystemExit(1)


def agent_name(path: Path) -> str:
    """Return an agent id made from a folder's name."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.resolve().name.removesuffix(".git")).strip("-._")
    return name[:64] or "replay"


def _replay(
    repo: MemoryRepo, source: SourceRepository, history: Sequence[SourceCommit], limits: Limits, *, show: bool
) -> Report:
    sender = Sender(repo, source, Plan(limits, source.size))
    verifier = Verifier(repo, Plan(limits, source.size), source)
    begun = time.monotonic()
    shas: list[str] = []
    try:
        shas.extend(_shown("replaying", sender.send(history), len(history), show=show))
    except KeyboardInterrupt:
        raise _interrupted(repo, len(shas), len(history)) from None
    seconds = time.monotonic() - begun
    verdicts = list(_shown("comparing", verifier.verify(history, shas), len(history), show=show))
    return report_on(f"{repo.org_id}/{repo.agent_id}", sender, history, shas, verdicts, seconds)


def _interrupted(repo: MemoryRepo, replayed: int, total: int) -> CommandError:
    """Say what is there now: a part of the history, under a name that is not new any more."""
    whose = f"{repo.org_id} {repo.agent_id}"
    message = (
        f"Interrupted after {replayed} of {total} commits: what was sent stays, and what is under way may follow. "
        f"To begin anew, run memrepo delete {whose}"
    )
    return CommandError("Interrupted", message, INTERRUPTED, {"replayed": replayed, "commits": total})


def _require_new(repo: MemoryRepo) -> None:
    """Fail unless the agent has no memory yet: its history would come before the replayed one."""
    try:
        repo.get_head_sha().result(60)
    except RepoNotFoundError:
        return
    raise RepoExistsError(f"{repo.org_id}/{repo.agent_id} has a memory already; name another with --agent")


def _shown(label: str, items: Iterable[T], count: int, *, show: bool) -> Iterator[T]:
    """Pass items on, and tell on standard error how many there were, also where that is no terminal."""
    progress = Progress(label, count, "commits")
    for item in items:
        yield item
        if show:
            progress.step()
    progress.clear()
