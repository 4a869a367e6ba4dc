"""``memrepo up``: everything on this machine, in one command."""

from __future__ import annotations

import json
import secrets
import signal
from dataclasses import replace
from pathlib import Path
from types import FrameType

import click

from memrepo.redis_url import masked
from memrepo.settings import environment
from memrepo_worker.assembly import build_git
from memrepo_worker.commands.checks import (
    NotFitError,
    check_broker,
    check_cache,
    check_git,
    check_store,
)
from memrepo_worker.local.ports import port_or_free
from memrepo_worker.local.system import RunningSystem, SystemPlan, SystemStartError, running_system
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes
from memrepo_worker.settings import WorkerSettings

BROKER_PORT = 6379


class StopSignals:
    """Counts requests to stop: the first stops in order, the second does not wait."""

    def __init__(self) -> None:
        self._count = 0
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._note)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self._count += 1

    def stopped(self) -> bool:
        """Return whether somebody asked to stop."""
        return self._count > 0

    def hurried(self) -> bool:
        """Return whether somebody asked twice."""
        return self._count > 1


@click.command()
@click.option(
    "--data", type=click.Path(file_okay=False, path_type=Path), default="memrepo-data", show_default=True,
    help="The folder that keeps everything.",
)  # fmt: skip
@click.option(
    "--port", type=click.IntRange(0, 65535), help="The broker's port.  [default: 6379 if free, else any]"
)
@click.option("--json", "as_json", is_flag=True, help="Print what runs where as one line of JSON.")
def up(data: Path, port: int | None, as_json: bool) -> None:
    """Run everything on this machine: broker, worker, Flower, and a folder as the store.

    MEMREPO_BROKER_URL names a Redis to use instead of the embedded broker, MEMREPO_STORE_URL another store.
    Ctrl+C stops the worker, then the broker; a second Ctrl+C does not wait.
    """
    signals = StopSignals()
    try:
        counters = Counters()
        check_git(build_git(counters))
        plan = _plan(data.absolute(), port)
        with running_system(
            plan, Processes(counters), stopped=signals.stopped, hurried=signals.hurried
        ) as system:
            click.echo(_as_json(system, plan) if as_json else _in_words(system, plan))
            dead = system.wait(signals.stopped)
            if dead is None:
                click.echo("Stopping: the worker hands over, then the broker ends.", err=True)
    except (SystemStartError, NotFitError) as error:
        raise click.ClickException(str(error)) from None
    if dead is not None:
        raise click.ClickException(
            f"the {dead.name} ended by itself. {dead.log} ends with:\n{dead.last_words()}"
        )


def _plan(data: Path, port: int | None) -> SystemPlan:
    """Decide what shall run; raises ``NotFitError`` if what is there already will not do."""
    env = environment()
    settings = replace(WorkerSettings.from_env(env), cache_dir=data / "cache")
    settings = replace(settings, store_url=settings.store_url or (data / "store").as_uri())
    own_broker = not env.get("MEMREPO_BROKER_URL")
    check_git(build_git(Counters()))
    check_cache(settings)
    check_store(settings, anew=False)
    if not own_broker:
        check_broker(settings)
    return SystemPlan(
        data=data,
        store_url=settings.store_url,
        broker_url="" if own_broker else settings.broker_url,
        broker_port=port or port_or_free(BROKER_PORT if port is None else 0),
        flower_port=port_or_free(settings.flower_port),
        flower_auth=settings.flower_basic_auth or f"memrepo:{secrets.token_urlsafe(12)}",
        env=dict(env),
    )


def _in_words(system: RunningSystem, plan: SystemPlan) -> str:
    user, _, password = plan.flower_auth.partition(":")
    broker = masked(system.broker_url) if plan.broker_url else f"{system.broker_url}  (embedded Valkey)"
    flower = f"{system.flower_url}  (user {user}, password {password}, shown once)"
    lines = [
        "memrepo is up. Ctrl+C stops it.",
        "",
        f"  broker  {broker}",
        f"  store   {system.store_url}",
        f"  Flower  {flower if system.flower_url else 'not installed'}",
        f"  logs    {system.children.folder}",
        "",
    ]
    if not plan.broker_url:
        lines += ["Point a producer at it:", "", f"  export MEMREPO_BROKER_URL={system.broker_url}", ""]
    return "\n".join(lines)


def _as_json(system: RunningSystem, plan: SystemPlan) -> str:
    return json.dumps(
        {
            "broker_url": masked(system.broker_url),
            "store_url": system.store_url,
            "flower_url": system.flower_url,
            "flower_auth": plan.flower_auth,
            "pids": {child.name: child.process.pid for child in system.children.running},
        }
    )
