"""``memrepo up``: everything on this machine, in one command."""

from __future__ import annotations

import json
import os
import secrets
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click

from memrepo.cells import CELLS_SETTING
from memrepo.cli.common import json_option
from memrepo.cli.ending import CONFLICT, CommandError
from memrepo.cli.numbers import WholeNumber
from memrepo.cli.up_state import DATA_DIR_DEFAULT
from memrepo.errors import InvalidRequestError, MemoryRepoError
from memrepo.installed import install_command
from memrepo.redis.address import masked
from memrepo.settings import environment
from memrepo_worker.assembly import build_git
from memrepo_worker.cli.checks.broker import check_broker
from memrepo_worker.cli.checks.machine import check_cache, check_git
from memrepo_worker.cli.checks.store import check_store
from memrepo_worker.cli.failures import translating_failures
from memrepo_worker.local.broker import is_embedded
from memrepo_worker.local.children import Child
from memrepo_worker.local.guard import BROKER
from memrepo_worker.local.ports import PortWish
from memrepo_worker.local.stop_signals import StopSignals
from memrepo_worker.local.system import (
    RunningSystem,
    SystemConflictError,
    SystemPlan,
    SystemStartError,
    running_system,
)
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes
from memrepo_worker.settings import WorkerSettings

BROKER_PORT = 6379
CELL_NAMES = tuple("abcdefgh")
"""What the cells of one machine are called: one that is added leaves the others theirs."""


@click.command()
@click.option(
    "--data", type=click.Path(file_okay=False, path_type=Path), default=DATA_DIR_DEFAULT, show_default=True,
    help="The folder that keeps everything.",
)  # fmt: skip
@click.option(
    "--port",
    metavar="PORT",
    type=WholeNumber(0, 65535),
    help="The broker's port; 0 is any.  [default: 6379 if free, else any]",
)
@click.option(
    "--cells",
    type=WholeNumber(1, len(CELL_NAMES)),
    default=1,
    show_default=True,
    help="So many brokers, each with a worker and a Flower: several share the agents.",
)
@json_option
def up(data: Path, port: int | None, cells: int, as_json: bool) -> None:
    """Run everything on this machine: broker, worker, Flower, and a folder as the store.

    MEMREPO_BROKER_URL names a Redis to use instead of the embedded broker (the embedded one's own address, from an
    earlier run in the same folder, counts as none), MEMREPO_STORE_URL another store,
    MEMREPO_FLOWER_PORT Flower's port. Ctrl+C stops the worker, then the broker; a second Ctrl+C does not wait.

    Other commands that are run in the same folder need no settings: they use what runs here.
    """
    signals = StopSignals()
    try:
        with _for_the_owner_alone():
            dead = _run(data, port, CELL_NAMES[:cells] if cells > 1 else ("",), signals, as_json=as_json)
    except SystemConflictError as error:
        raise CommandError("ConflictError", str(error), CONFLICT) from error
    except SystemStartError as error:
        raise MemoryRepoError(str(error)) from error
    if dead is not None:
        raise MemoryRepoError(dead.end)


def _run(
    data: Path, port: int | None, cells: Sequence[str], signals: StopSignals, *, as_json: bool
) -> Child | None:
    """Run everything until somebody asks to stop, or a part ended by itself; return that part."""
    with translating_failures():
        plan = _plan(data.absolute(), port, cells)
    with running_system(
        plan, Processes(Counters()), stopped=signals.stopped, hurried=signals.hurried
    ) as system:
        click.echo(as_one_line(system, plan) if as_json else in_words(system, plan))
        dead = system.wait(signals.stopped)
        if dead is None:
            stopping = "the worker hands over, then the broker ends."
            click.echo(json.dumps({"stopping": stopping}) if as_json else f"Stopping: {stopping}", err=True)
    return dead


@contextmanager
def _for_the_owner_alone() -> Iterator[None]:
    """Within the block, whatever is made is for its owner alone: memories, logs and passwords; children keep to it."""
    mask = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(mask)


def _plan(data: Path, port: int | None, cells: Sequence[str]) -> SystemPlan:
    """Decide what shall run; raises ``NotFitError`` if what is there already will not do."""
    env = _without_its_own(environment(), data)
    _check_cells(data, env, cells)
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
        broker_port=PortWish(BROKER_PORT) if port is None else PortWish(port, "--port"),
        flower_port=PortWish(
            settings.flower_port, "MEMREPO_FLOWER_PORT" if env.get("MEMREPO_FLOWER_PORT") else ""
        ),
        flower_auth=settings.flower_basic_auth or f"memrepo:{secrets.token_urlsafe(12)}",
        env=dict(env),
        cells=cells,
    )


def _without_its_own(env: Mapping[str, str], data: Path) -> Mapping[str, str]:
    """Leave out the address of this folder's own broker: a shell may have it from an earlier run, which printed it."""
    name = "MEMREPO_BROKER_URL"
    if is_embedded(data / BROKER, env.get(name, "")):
        return {each: value for each, value in env.items() if each != name}
    return env


def _check_cells(data: Path, env: Mapping[str, str], cells: Sequence[str]) -> None:
    """Refuse cells of somebody else's, and fewer of our own than the folder has: what waits there would be lost."""
    if env.get(CELLS_SETTING):
        raise InvalidRequestError.of(
            CELLS_SETTING,
            "is set, and `memrepo up` brings brokers of its own: unset it, or run `memrepo worker`",
        )
    if len(cells) > 1 and env.get("MEMREPO_BROKER_URL"):
        raise InvalidRequestError.of(
            "--cells", "is for brokers that are brought along: unset MEMREPO_BROKER_URL"
        )
    left = [name for name in CELL_NAMES if (data / f"broker-{name}").exists() and name not in cells]
    if left:
        raise SystemConflictError(
            f"{data} was used with cells up to {left[-1]}: give --cells {CELL_NAMES.index(left[-1]) + 1}, or remove "
            f"{data / f'broker-{left[0]}'} and those behind it, and with them what may still wait there"
        )


def in_words(system: RunningSystem, plan: SystemPlan) -> str:
    """Return what a person needs who looks at this terminal: where everything is, and what to set elsewhere."""
    user, _, password = plan.flower_auth.partition(":")
    login = f"user {user}, password {password}, shown once"
    missing = f"not installed: {install_command('flower')}"
    brokers = [
        f"{_labelled('broker', cell)}{masked(url)}"
        + ("" if plan.broker_url else f"  (embedded Valkey{_moved(url, plan.broker_port, cell)})")
        for cell, url in system.broker_urls.items()
    ]
    flowers = [
        f"{_labelled('Flower', cell)}{url}  ({login}{_moved(url, plan.flower_port, cell)})"
        for cell, url in system.flower_urls.items()
    ]
    lines = [
        "memrepo is up. Ctrl+C stops it.",
        "",
        *brokers,
        f"  store   {masked(system.store_url)}",
        f"  cache   {plan.cache_dir}",
        *(flowers or [f"  Flower  {missing}"]),
        f"  logs    {system.children.folder}",
        "",
        *_elsewhere(plan),
        "",
        *(f"  export {name}={shlex.quote(value)}" for name, value in decided_here(system, plan).items()),
        "",
    ]
    return "\n".join(lines)


def _elsewhere(plan: SystemPlan) -> list[str]:
    """Say where the variables that follow are needed."""
    if plan.data.name != DATA_DIR_DEFAULT.name:
        return ["In other terminals, and for programs of your own, set:"]
    return [
        f"Other terminals need no settings where `memrepo` is run in {plan.data.parent}.",
        "In other folders, and for programs of your own, set:",
    ]


def _labelled(part: str, cell: str) -> str:
    return f"  {part}  " + (f"{cell}: " if cell else "")


def _moved(url: str, wish: PortWish, cell: str) -> str:
    """Say why a port is not the usual one; of several cells' only the first has it."""
    usual = wish.asked_by or f":{wish.number}" in url or cell not in ("", CELL_NAMES[0])
    return "" if usual else f"; port {wish.number} is taken"


def decided_here(system: RunningSystem, plan: SystemPlan) -> dict[str, str]:
    """Return those of the settings that are not set in this terminal's environment.

    The embedded broker's password is among them: whoever sees this terminal is who uses it.
    """
    return {name: value for name, value in system.variables.items() if plan.env.get(name) != value}


def as_one_line(system: RunningSystem, plan: SystemPlan) -> str:
    """Return the same as one line of JSON."""
    return json.dumps(
        {
            "broker_url": masked(system.broker_url) if plan.broker_url else system.broker_url,
            "cells": {cell: url for cell, url in system.broker_urls.items() if cell},
            "store_url": masked(system.store_url),
            "cache_dir": str(plan.cache_dir),
            "flower_url": system.flower_url,
            "flower_auth": plan.flower_auth,
            "pids": {child.name: child.process.pid for child in system.children.running},
            "env": decided_here(system, plan),
        }
    )
