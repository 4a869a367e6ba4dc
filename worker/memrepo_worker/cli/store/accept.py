"""``memrepo store accept``: another store for a broker's workers, on purpose."""

from __future__ import annotations

import secrets
from contextlib import ExitStack

import click
from redis import Redis

from memrepo.cli.common import json_option, say_where_from
from memrepo.cli.ending import CONFLICT, CommandError, plain
from memrepo.cli.output import show_json
from memrepo.redis.address import masked
from memrepo_worker.cli.failures import translating_failures
from memrepo_worker.cli.here import require_store, settings_here
from memrepo_worker.queues.leases.agreement import StoreRecord, accept_store, recorded_store
from memrepo_worker.queues.leases.status import live_workers
from memrepo_worker.queues.reach import reaching
from memrepo_worker.store.identity import begin_identity, read_identity
from memrepo_worker.store.open import open_store


@click.command(short_help="Have the workers of a broker serve this store from now on.")
@json_option
def accept(as_json: bool) -> None:
    """Have the workers of the broker, or of all cells, serve this store from now on, where they would refuse it.

    For a store that was exchanged on purpose, such as a folder that was made anew. Stop all workers first. What waits
    in the queues is then applied to this store.
    """
    settings, up = settings_here()
    url = require_store(settings)
    say_where_from(up, as_json=as_json)
    with translating_failures(), ExitStack() as open_brokers:
        brokers = [
            open_brokers.enter_context(reaching(each.broker, "broker")) for each in settings.of_each_cell()
        ]
        found = open_store(url)
        before, identity = recorded_store(brokers[0]), read_identity(found)
        for broker in brokers:
            _refuse_running(broker, identity)
        now = StoreRecord(begin_identity(found, lambda: secrets.token_hex(16)), masked(found.name))
        for broker in brokers:
            accept_store(broker, now)
    values = {"store": now.id, "url": now.name, "before": before.id if before else None}
    if as_json:
        show_json(values)
    else:
        click.echo(plain(f"the broker's workers serve {now}" + (f", before that {before}" if before else "")))


def _refuse_running(broker: Redis, identity: str | None) -> None:
    """Refuse to exchange the store of workers that run."""
    before, running = recorded_store(broker), live_workers(broker)
    if running and (before is None or identity != before.id):
        raise CommandError(
            "ConflictError",
            f"{', '.join(running)} still run: stop all workers first, as each keeps to the store it began with "
            "(one that was killed counts as dead a lease later)",
            CONFLICT,
        )
