"""The entry of a worker process in benchmarks: the real one, with plain tasks beside, over a store as far as told."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from celery.apps.worker import Worker
from celery.signals import celeryd_init, worker_ready
from celery.worker.consumer import Consumer
from typing_extensions import override

from benchmarks.plain import QUEUE, register
from memrepo.settings import environment
from memrepo_worker.app import run_worker
from memrepo_worker.assembly import open_service
from memrepo_worker.logs import configure
from memrepo_worker.observe import Counters, Observer
from memrepo_worker.settings import WorkerSettings
from memrepo_worker.store.open import open_store
from memrepo_worker.store.options import StoreOptions
from memrepo_worker.threads.heaps import keep_little
from memrepo_worker.upkeep.runner import Job, Stop, UpkeepRunner
from tests.support.delayed_store import DelayedStore
from tests.support.refusing_store import RefusingStore

CONNECTIONS_MAX = 32


def main() -> int:
    """Run a worker as the JSON argument says.

    ``settings``; ``delay_s``, by which the store is further away; ``refuses``, a file that says whom it refuses (see
    ``tests.support.refusing_store``); ``jobs``, a file in which it notes when its upkeep's jobs ran.
    """
    job = json.loads(sys.argv[1])
    values = job["settings"]
    settings = WorkerSettings(**{**values, "cache_dir": Path(values["cache_dir"])})
    keep_little(environment())
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
    upkeep = _NotingRunner(counters, Path(job["jobs"])) if job.get("jobs") else UpkeepRunner(counters)
    with open_service(settings, counters, store=store, upkeep=upkeep) as service:
        return run_worker(settings, service, counters, upkeep=upkeep)


class _NotingRunner(UpkeepRunner):
    """Notes of each job its kind, and from when to when it ran."""

    def __init__(self, observer: Observer, file: Path) -> None:
        super().__init__(observer)
        self._file = file

    @override
    def submit(self, job: Job) -> bool:
        return super().submit(replace(job, work=partial(self._noted, job)))

    def _noted(self, job: Job, stop: Stop) -> None:
        began_s = time.time()
        try:
            job.work(stop)
        finally:
            with self._file.open("a") as file:
                file.write(f"{job.kind} {began_s} {time.time()}\n")


if __name__ == "__main__":
    sys.exit(main())
