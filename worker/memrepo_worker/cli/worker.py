"""``memrepo worker``: one worker, until a signal ends it."""

from __future__ import annotations

from dataclasses import replace

import click

from memrepo_worker.app import run_worker
from memrepo_worker.assembly import build_git, open_service
from memrepo_worker.cli.checks import agree_on_store, require
from memrepo_worker.cli.failures import translating_failures
from memrepo_worker.logs import FORMATS, LEVELS, configure
from memrepo_worker.observe import Counters
from memrepo_worker.settings import WorkerSettings, shown
from memrepo_worker.upkeep.runner import UpkeepRunner


@click.command()
@click.option("--name", help="Its name in Flower.  [default: the host's name and the process id]")
@click.option(
    "--log-level", type=click.Choice(LEVELS, case_sensitive=False),
    help="How much it tells.  [default: MEMREPO_LOG_LEVEL, else INFO]",
)  # fmt: skip
@click.option(
    "--log-format", type=click.Choice(FORMATS, case_sensitive=False),
    help="In which form.  [default: MEMREPO_LOG_FORMAT, else text]",
)  # fmt: skip
@click.option(
    "--log-requests/--no-log-requests", default=None, help="Tell of each request in a line of its own, too."
)
@click.option("--show-settings", is_flag=True, help="Print the settings, secrets masked, and leave.")
def worker(
    name: str | None,
    log_level: str | None,
    log_format: str | None,
    log_requests: bool | None,
    show_settings: bool,
) -> None:
    """Serve the shard queues until SIGTERM or Ctrl+C; a second one does not wait for what is running.

    Needs git 2.39 or newer, MEMREPO_BROKER_URL and MEMREPO_STORE_URL. If it cannot serve, it says why in one line
    and ends: with 5 for a broker or store that cannot be used, with 2 for a setting, else with 1.
    """
    settings = WorkerSettings.from_env()
    settings = replace(
        settings,
        log_level=log_level or settings.log_level,
        log_format=log_format or settings.log_format,
        log_requests=settings.log_requests if log_requests is None else log_requests,
    )
    if show_settings:
        for variable, value in shown(settings).items():
            click.echo(f"{variable}={value}")
        return
    raise SystemExit(_serve(settings, name))


def _serve(settings: WorkerSettings, name: str | None) -> int:
    configure(settings.log)
    counters = Counters()
    upkeep = UpkeepRunner(counters)
    git = build_git(counters)
    with translating_failures():
        require(settings, git)
        identity = agree_on_store(settings)
        with open_service(settings, counters, identity=identity, upkeep=upkeep) as service:
            version = git.require_version()
            return run_worker(settings, service, counters, name=name, git=version, upkeep=upkeep)
