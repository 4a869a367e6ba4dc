"""``memrepo worker``: one worker, until a signal ends it."""

from __future__ import annotations

import socket
from dataclasses import replace

import click

from memrepo.cli.numbers import WholeNumber
from memrepo.settings import environment, require_cell
from memrepo_worker.app import Supervised, run_worker, usual_name
from memrepo_worker.assembly import build_git, open_service
from memrepo_worker.cli.checks.store import agree_on_store
from memrepo_worker.cli.checks.table import require
from memrepo_worker.cli.failures import translating_failures
from memrepo_worker.local.lifeline import end_with_parent
from memrepo_worker.local.stop_signals import StopSignals
from memrepo_worker.local.worker_processes import WorkerProcesses
from memrepo_worker.logs import FORMATS, LEVELS, configure
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes
from memrepo_worker.service.machine import words_of_trouble
from memrepo_worker.settings import WorkerSettings, shown
from memrepo_worker.threads.heaps import keep_little
from memrepo_worker.upkeep.runner import UpkeepRunner


@click.command()
@click.option("--name", help="Its name in Flower.  [default: the host's name and the process id]")
@click.option(
    "--cell", metavar="CELL", help="Which cell of MEMREPO_CELLS it serves.  [default: MEMREPO_CELL]"
)
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
@click.option(
    "--processes", type=WholeNumber(1, 256), default=1, show_default=True,
    help="How many processes serve here, one for each core that is to be used.",
)  # fmt: skip
@click.option(
    "--supervised", type=int, hidden=True,
    help="End when standard input does; the number of a file that listens for the page of metrics, 0 for none.",
)  # fmt: skip
@click.option("--show-settings", is_flag=True, help="Print the settings, secrets masked, and leave.")
def worker(
    name: str | None,
    cell: str | None,
    log_level: str | None,
    log_format: str | None,
    log_requests: bool | None,
    processes: int,
    supervised: int | None,
    show_settings: bool,
) -> None:
    """Serve the shard queues until SIGTERM or Ctrl+C; a second one does not wait for what is running.

    Needs git 2.39 or newer, MEMREPO_BROKER_URL and MEMREPO_STORE_URL; of MEMREPO_CELLS it serves one cell. If it cannot
    serve, it says why in one line and ends: with 5 for a broker or store that cannot be used, with 2 for a setting,
    else with 1.

    Several processes share the cache, its limits and the metrics page, and end together. One that ends by itself is
    started again.
    """
    settings = WorkerSettings.from_env()
    settings = replace(
        settings.of_cell(cell) if cell else settings,
        log_level=log_level or settings.log_level,
        log_format=log_format or settings.log_format,
        log_requests=settings.log_requests if log_requests is None else log_requests,
    )
    if show_settings:
        for variable, value in shown(settings).items():
            click.echo(f"{variable}={value}")
        return
    require_cell(settings.cells, settings.cell)
    under = None
    if supervised is not None:
        end_with_parent()
        under = Supervised(socket.socket(fileno=supervised) if supervised else None)
    raise SystemExit(
        _serve(settings, name, under) if processes == 1 else _supervise(settings, name, processes)
    )


def _serve(settings: WorkerSettings, name: str | None, supervised: Supervised | None) -> int:
    keep_little(environment())  # here, where the process is a worker's alone, and no other thread computes
    configure(settings.log)
    counters = Counters()
    upkeep = UpkeepRunner(counters, words_of_trouble=words_of_trouble)
    git = build_git(counters)
    with translating_failures():
        require(settings, git)
        identity = agree_on_store(settings)
        with open_service(settings, counters, identity=identity, upkeep=upkeep) as service:
            version = git.require_version()
            return run_worker(
                settings, service, counters, name=name, git=version, upkeep=upkeep, supervised=supervised
            )


def _supervise(settings: WorkerSettings, name: str | None, count: int) -> int:
    """Look once at what each process would look at, so that what keeps all from starting is said once."""
    configure(settings.log)
    signals = StopSignals()
    counters = Counters()
    with translating_failures():
        require(settings, build_git(counters))
        agree_on_store(settings)
    options = ["--log-level", settings.log_level, "--log-format", settings.log_format]
    options.append("--log-requests" if settings.log_requests else "--no-log-requests")
    if settings.cell:
        options += ["--cell", settings.cell]
    return WorkerProcesses(settings, Processes(counters), name or usual_name(), options, environment()).run(
        count, signals
    )
