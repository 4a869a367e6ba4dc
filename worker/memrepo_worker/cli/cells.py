"""``memrepo cells``: which cells there are and what each says of the list, and changing that list for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import click
from click.exceptions import UsageError

from memrepo.cells import CELLS_SETTING
from memrepo.cli.common import json_option, say_where_from
from memrepo.cli.ending import plain
from memrepo.cli.output import show_json
from memrepo.errors import BrokerUnavailableError, InvalidRequestError
from memrepo.wire.agreement import CellsRecord
from memrepo.wording import counted
from memrepo_worker.cli.here import settings_here
from memrepo_worker.queues.leases.agreement import accept_cells, recorded_cells
from memrepo_worker.queues.leases.status import live_workers, read_shards
from memrepo_worker.queues.reach import reaching
from memrepo_worker.settings import WorkerSettings


@dataclass(frozen=True)
class CellStatus:
    """How one cell is: the lists that it takes, the newest first, its workers, and how many requests it holds."""

    cell: str
    address: str
    lists: Sequence[Sequence[str]]
    workers: Sequence[str]
    requests: int


@click.command()
@click.option(
    "--accept", is_flag=True, help="Have every cell take this list from now on, beside the one before."
)
@click.option("--settle", is_flag=True, help="Have every cell take this list alone from now on.")
@json_option
def cells(accept: bool, settle: bool, as_json: bool) -> None:
    """Show the cells of MEMREPO_CELLS: where each is, which lists of cells it takes, its workers, what it holds.

    Without MEMREPO_CELLS there is one broker without a name, and an empty list.

    To change the list while all runs: set the new one here and run this with --accept; give it to the workers, then to
    the producers; and run this with --settle. Nothing is written unless all cells of the new list can be reached.
    """
    if accept and settle:
        raise UsageError("--accept begins a change of the list and --settle ends it: give one of them.")
    settings, up = settings_here()
    say_where_from(up, as_json=as_json)
    each = [settings.of_cell(name) for name in settings.each_cell] or [settings]
    if accept or settle:
        _record([(one, _new_record(one, keeps=accept)) for one in each])
    found: list[CellStatus] = []
    away: list[BrokerUnavailableError] = []
    for one in each:
        try:
            status = _look(one)
        except BrokerUnavailableError as error:  # the others are shown all the same
            away.append(error)
            line = f"{_place(one.cell, one.broker)}  cannot be reached" if one.cell else ""
        else:
            found.append(status)
            line = _in_words(status)
        if line and not as_json:
            click.echo(plain(line))
    if as_json and (found or not away):
        show_json([asdict(one) for one in found])
    if away:
        raise away[0]


def _new_record(settings: WorkerSettings, *, keeps: bool) -> CellsRecord:
    """Return what is to be recorded in one cell; ``keeps`` the list before.

    Raises:
        InvalidRequestError: another cell is at its address.
    """
    with reaching(settings.broker, "broker") as broker:
        before = recorded_cells(broker)
    if before is not None and settings.cell and before.own not in ("", settings.cell):
        raise InvalidRequestError.of(
            CELLS_SETTING, f"says that cell {settings.cell} is where cell {before.own} is"
        )
    if before is None or not keeps:
        return CellsRecord.of(settings.cell, settings.each_cell)
    return before.accepting(settings.cell, settings.each_cell)


def _record(new: Sequence[tuple[WorkerSettings, CellsRecord]]) -> None:
    for settings, record in new:
        with reaching(settings.broker, "broker") as broker:
            accept_cells(broker, record)


def _look(settings: WorkerSettings) -> CellStatus:
    with reaching(settings.broker, "broker") as broker:
        record = recorded_cells(broker)
        requests = sum(shard.depth for shard in read_shards(broker, settings.shards))
        workers = live_workers(broker)
    lists = () if record is None else record.lists
    return CellStatus(settings.cell, str(settings.broker), lists, workers, requests)


def _in_words(status: CellStatus) -> str:
    lists = " or ".join(", ".join(names) or "none" for names in status.lists) or "nothing recorded yet"
    workers = counted(len(status.workers), "worker")
    holds = f"{workers}, {counted(status.requests, 'request')}"
    return f"{_place(status.cell, status.address)}  cells: {lists}  {holds}"


def _place(cell: str, address: object) -> str:
    return f"{cell or '-'}  {address}"
