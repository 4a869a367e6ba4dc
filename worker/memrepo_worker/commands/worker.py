"""``memrepo worker``: one worker, until a signal ends it."""

from __future__ import annotations

import click

from memrepo_worker.app import run_worker
from memrepo_worker.assembly import build_git, open_service
from memrepo_worker.commands.checks import NotFitError, require
from memrepo_worker.git.command import GitError
from memrepo_worker.observe import Counters
from memrepo_worker.repos.cache import CacheUnusableError
from memrepo_worker.settings import WorkerSettings
from memrepo_worker.store.seam import StoreError


@click.command()
@click.option("--name", help="Its name in Flower.  [default: the host's name and the process id]")
def worker(name: str | None) -> None:
    """Serve the shard queues until SIGTERM or Ctrl+C; a second one does not wait for what is running.

    Needs git 2.39 or newer, MEMREPO_BROKER_URL and MEMREPO_STORE_URL. If it cannot serve, it says why in one line
    and exits with 1.
    """
    settings, counters = WorkerSettings.from_env(), Counters()
    try:
        require(settings, build_git(counters))
        with open_service(settings, counters) as service:
            code = run_worker(settings, service, counters, name=name)
    except (NotFitError, GitError, StoreError, CacheUnusableError) as error:
        raise click.ClickException(str(error)) from None
    raise SystemExit(code)
