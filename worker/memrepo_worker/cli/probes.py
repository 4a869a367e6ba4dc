"""Whether the workers of this machine live, and whether they serve: for whoever asks every few seconds.

Imports little, writes nothing, and leaves the store alone.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

from memrepo.cli.ending import exit_code_of
from memrepo.clock import system_clock
from memrepo.errors import BrokerUnavailableError
from memrepo_worker.cli.findings import Finding
from memrepo_worker.liveness import STALE_S, WorkerSeen, workers_seen
from memrepo_worker.settings import WorkerSettings


def liveness(settings: WorkerSettings) -> Finding:
    """Tell whether each worker that runs with this cache folder goes on: also where its broker or store is away."""
    return _liveness(settings, _seen(settings))


def readiness(settings: WorkerSettings) -> Sequence[Finding]:
    """Tell besides whether the broker counts one of them among its workers, who get their share of the shards."""
    seen = _seen(settings)
    return [_liveness(settings, seen), _readiness(settings, seen)]


def _seen(settings: WorkerSettings) -> list[WorkerSeen]:
    return list(workers_seen(settings.cache_dir, socket.gethostname(), system_clock()))


def _liveness(settings: WorkerSettings, seen: Sequence[WorkerSeen]) -> Finding:
    if not seen:
        return Finding("alive", f"no worker runs with the cache folder {settings.cache_dir}", 1)
    hanging = [worker for worker in seen if not worker.lives]
    if hanging:
        told = ", ".join(f"{worker.name} for {worker.age_s:.0f} s" for worker in hanging)
        return Finding("alive", f"no heartbeat of {told} (at most {STALE_S:.0f} s are well): restart it", 1)
    return Finding("alive", ", ".join(f"{worker.name} {worker.age_s:.0f} s ago" for worker in seen))


def _readiness(settings: WorkerSettings, seen: Sequence[WorkerSeen]) -> Finding:
    # What reaches a broker takes most of the time to import: liveness does without.
    from memrepo_worker.queues.leases.status import live_workers, withdrawn_workers  # noqa: PLC0415 - as above
    from memrepo_worker.queues.reach import reaching  # noqa: PLC0415 - as above

    listed: set[str] = set()
    withdrawn: dict[str, str] = {}
    answered: list[str] = []
    away: list[BrokerUnavailableError] = []
    for each in settings.of_each_cell():
        try:
            with reaching(each.broker, "broker") as broker:
                listed.update(live_workers(broker))
                withdrawn.update(withdrawn_workers(broker))
                answered.append(str(each.broker))
        except BrokerUnavailableError as error:  # of several cells, it may be that of others
            away.append(error)
    ready = [worker.name for worker in seen if worker.name in listed]
    unfit = [f"{worker.name}: {withdrawn[worker.name]}" for worker in seen if worker.name in withdrawn]
    if ready:
        return Finding("ready", f"{', '.join(answered)} knows {', '.join(ready)}")
    if unfit:
        return Finding("ready", f"cannot serve, so that it owns nothing: {'; '.join(unfit)}", 1)
    if away:
        return Finding("ready", away[0].message, exit_code_of(away[0]))
    return Finding("ready", "the broker knows no worker of this machine: it starts, ends, or is cut off", 1)
