"""``memrepo shards``: who owns what, and what waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

import click

from memrepo.cli.common import json_option, say_where_from
from memrepo.cli.ending import plain
from memrepo.cli.output import counted, show_json
from memrepo_worker.cli.here import settings_here
from memrepo_worker.queues.leases.agreement import check_shards, recorded_store
from memrepo_worker.queues.leases.status import ShardStatus, read_shards, withdrawn_workers
from memrepo_worker.queues.reach import reaching

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
    with reaching(settings.broker, "broker") as broker:
        check_shards(broker, settings.shards)
        found = read_shards(broker, settings.shards)
        store = recorded_store(broker)
        withdrawn = withdrawn_workers(broker)
    if as_json:
        show_json([asdict(shard) for shard in found])
    else:
        click.echo(in_words(found, show_all=show_all))
        for worker, reason in withdrawn.items():
            click.echo(plain(f"{worker} cannot serve, so it owns nothing: {reason}"))
        if store is not None:
            click.echo(plain(f"store: {store}"))


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
