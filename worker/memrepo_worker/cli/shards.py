"""``memrepo shards``: who owns what, and what waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import click

from memrepo.cli.common import json_option, say_where_from
from memrepo.cli.ending import plain
from memrepo.cli.output import show_json
from memrepo.errors import BrokerUnavailableError
from memrepo.wording import counted
from memrepo_worker.cli.here import settings_here
from memrepo_worker.queues.leases.agreement import StoreRecord, check_shards, recorded_store
from memrepo_worker.queues.leases.status import ShardStatus, read_shards, withdrawn_workers
from memrepo_worker.queues.reach import reaching
from memrepo_worker.settings import WorkerSettings

_HEADER = ("queue", "owner", "waiting", "in flight", "oldest waiting", "oldest in flight", "lease left")


@click.command()
@click.option("--all", "show_all", is_flag=True, help="Show idle shards one by one, too.")
@json_option
def shards(show_all: bool, as_json: bool) -> None:
    """Show who owns the shard queues, what waits in them, and which store they serve; asks the broker alone.

    A shard that is busy, or that nobody owns, has a line of its own; without any worker only the busy ones have.
    """
    settings, up = settings_here()
    say_where_from(up, as_json=as_json)
    documents: list[dict[str, object]] = []
    away: list[BrokerUnavailableError] = []
    for each in settings.of_each_cell():
        try:
            found = _look(each)
        except BrokerUnavailableError as error:  # the other cells are shown all the same
            away.append(error)
            continue
        named = {"cell": each.cell} if each.cell else {}
        documents += [{**named, **asdict(shard)} for shard in found.shards]
        if not as_json:
            _show(each, found, show_all=show_all)
    if as_json and (documents or not away):
        show_json(documents)
    if away:
        raise away[0]


@dataclass(frozen=True)
class _Found:
    """What one broker says of its shards."""

    shards: Sequence[ShardStatus]
    store: StoreRecord | None
    withdrawn: Mapping[str, str]


def _look(settings: WorkerSettings) -> _Found:
    with reaching(settings.broker, "broker") as broker:
        check_shards(broker, settings.shards)
        found = read_shards(broker, settings.shards)
        return _Found(found, recorded_store(broker), withdrawn_workers(broker))


def _show(settings: WorkerSettings, found: _Found, *, show_all: bool) -> None:
    if settings.cell:
        click.echo(plain(f"cell {settings.cell}, {settings.broker}:"))
    click.echo(in_words(found.shards, show_all=show_all))
    for worker, reason in found.withdrawn.items():
        click.echo(plain(f"{worker} cannot serve, so it owns nothing: {reason}"))
    if found.store is not None:
        click.echo(plain(f"store: {found.store}"))


def in_words(found: Sequence[ShardStatus], *, show_all: bool) -> str:
    """Return a line for each owner, and a table of the shards worth a look."""
    owners = Counter(shard.owner for shard in found)
    some_worker = any(owners)
    lines = [
        f"{owner or 'NOBODY'} owns {count} of {len(found)} shards"
        for owner, count in sorted(owners.items(), key=lambda pair: pair[0] or "")
    ]
    rows = [_row(shard) for shard in found if show_all or _worth_a_look(shard, some_worker=some_worker)]
    if not some_worker:
        waiting = sum(shard.depth for shard in found)
        what = f"{counted(waiting, 'request')} in the queues" if waiting else "nothing waits"
        lines = [f"No worker serves the {len(found)} shards; {what}. Start one: memrepo worker"]
    elif not rows:
        lines.append("nothing waits")
    lines += [f"{shard.queue} cannot be served: {shard.trouble}" for shard in found if shard.trouble]
    if not rows:
        return "\n".join(lines)
    widths = [max(len(row[column]) for row in [_HEADER, *rows]) for column in range(len(_HEADER))]
    table = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in [_HEADER, *rows]]
    return "\n".join([*lines, "", *table])


def _worth_a_look(shard: ShardStatus, *, some_worker: bool) -> bool:
    return shard.depth > 0 or (some_worker and shard.owner is None) or (shard.lease_left_s or 0) < 0


def _row(shard: ShardStatus) -> tuple[str, ...]:
    ages = (shard.oldest_waiting_s, shard.oldest_in_flight_s, shard.lease_left_s)
    return (
        shard.queue,
        shard.owner or "NOBODY",
        str(shard.waiting),
        str(shard.in_flight),
        *("-" if age is None else f"{age:.1f} s" for age in ages),
    )
