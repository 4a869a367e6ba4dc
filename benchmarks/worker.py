"""The entry of a worker process in benchmarks: the real one, with plain tasks beside, over a store as far as told."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from celery.apps.worker import Worker
from celery.signals import celeryd_init, worker_ready
from celery.worker.consumer import Consumer

from benchmarks.plain import QUEUE, register
from memrepo_worker.app import run_worker
from memrepo_worker.assembly import open_service
from memrepo_worker.logs import configure
from memrepo_worker.observe import Counters
from memrepo_worker.settings import WorkerSettings
from memrepo_worker.store.open import open_store
from memrepo_worker.store.options import StoreOptions
from memrepo_worker.upkeep.runner import UpkeepRunner
from tests.support.delayed_store import DelayedStore
from tests.support.refusing_store import RefusingStore

CONNECTIONS_MAX = 32


def main() -> int:
    """Run a worker as the JSON argument says.

    ``settings``; ``delay_s``, by which the store is further away; ``refuses``, a file that says whom it refuses (see
    ``tests.support.refusing_store``).
    """
    job = json.loads(sys.argv[1])
    values = job["settings"]
    settings = WorkerSettings(**{**values, "cache_dir": Path(values["cache_dir"])})
    configure(settings.log)
    store = open_store(settings.store_url, StoreOptions(connections_max=CONNECTIONS_MAX))
    if job.get("refuses"):
        store = RefusingStore(store, Path(job["refuses"]))
    if job["delay_s"]:
        store = DelayedStore(store, job["delay_s"])

    @celeryd_init.connect(weak=False)
    def add_plain_tasks(instance: Worker, conf: Any, **_: object) -> None:
        conf.task_queues = [*conf.task_queues, QUEUE]
        register(instance.app, store)

    @worker_ready.connect(weak=False)
    def let_events_be_disabled(sender: Consumer, **_: object) -> None:
        """Name the groups of events: Celery disables none where all are sent because none is named."""
        if sender.event_dispatcher is not None:
            sender.event_dispatcher.groups = {"task", "worker"}

    counters = Counters()
    upkeep = UpkeepRunner(counters)
    with open_service(settings, counters, store=store, upkeep=upkeep) as service:
        return run_worker(settings, service, counters, upkeep=upkeep)


if __name__ == "__main__":
    sys.exit(main())
