"""``memrepo replay``: a git repository's history, through the queue, as one agent's memory."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import click

from memrepo.calls import MemoryRepo
from memrepo.client import MemoryRepos
from memrepo.errors import RepoNotFoundError
from memrepo.limits import Limits
from memrepo.settings import Settings
from memrepo_worker.assembly import build_git
from memrepo_worker.git.command import GitError
from memrepo_worker.observe import Counters
from memrepo_worker.replay.plan import Plan
from memrepo_worker.replay.report import Report, in_words, report_on
from memrepo_worker.replay.send import Sender
from memrepo_worker.replay.source import SourceRepository
from memrepo_worker.replay.verify import Verifier

T = TypeVar("T")


@click.command()
@click.argument("path", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--org", default="replay", show_default=True, help="Whose agent.")
@click.option("--agent", help="The agent, who must be new.  [default: the folder's name]")
@click.option("--limit", type=click.IntRange(min=1), help="Replay only the first N commits.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def replay(path: Path, org: str, agent: str | None, limit: int | None, as_json: bool) -> None:
    """Replay the first-parent history of the git repository at PATH as one agent's memory.

    Commits go through the queue one by one, many under way at once. Then every commit's files are read back
    through the queue and compared. Symbolic links, submodules and whatever memrepo refuses are left out and
    counted; a commit over the limits is split.
    """
    settings = Settings.from_env()
    try:
        source = SourceRepository.open(path, build_git(Counters()))
        with MemoryRepos(settings=settings) as repos:
            repo = repos.repo(org_id=org, agent_id=agent or agent_name(path))
            _require_new(repo)
            report = _replay(repo, source, settings.limits, limit, show=not as_json)
    except GitError as error:
        raise click.ClickException(str(error)) from None
    click.echo(json.dumps(asdict(report)) if as_json else in_words(report))
    if not report.equal:
        raise SystemExit(1)


def agent_name(path: Path) -> str:
    """Return an agent id made from a folder's name."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.resolve().name.removesuffix(".git")).strip("-._")
    return name[:64] or "replay"


def _replay(
    repo: MemoryRepo, source: SourceRepository, limits: Limits, limit: int | None, *, show: bool
) -> Report:
    history = source.history(limit)
    sender = Sender(repo, source, Plan(limits, source.size))
    verifier = Verifier(repo, Plan(limits, source.size))
    begun = time.monotonic()
    shas = list(_shown("replaying", sender.send(history), len(history), show=show))
    seconds = time.monotonic() - begun
    verdicts = list(_shown("comparing", verifier.verify(history, shas), len(history), show=show))
    return report_on(f"{repo.org_id}/{repo.agent_id}", sender.plan, history, shas, verdicts, seconds)


def _require_new(repo: MemoryRepo) -> None:
    """Fail unless the agent has no memory yet: its history would come before the replayed one."""
    try:
        repo.get_head_sha().result(60)
    except RepoNotFoundError:
        return
    raise click.ClickException(
        f"{repo.org_id}/{repo.agent_id} has a memory already; name another with --agent"
    )


def _shown(label: str, items: Iterable[T], count: int, *, show: bool) -> Iterator[T]:
    """Pass items on, with a progress bar on standard error."""
    with click.progressbar(items, count, label, hidden=not show, show_pos=True, file=sys.stderr) as bar:
        yield from bar
