"""A process that opens one memory cold, and prints what that took and what there is of it, as JSON."""

from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil

from memrepo.errors import TooLargeError
from memrepo.settings import environment
from memrepo.wire.operations import build
from memrepo.wire.requests.reads import GetFilesRequest
from memrepo_worker.assembly import open_service
from memrepo_worker.group import Agent, Group, Lease, Success
from memrepo_worker.journal.layout import Layout
from memrepo_worker.observe import Counters
from memrepo_worker.settings import WorkerSettings
from memrepo_worker.store.interface import Store
from memrepo_worker.store.open import open_store
from memrepo_worker.store.options import StoreOptions
from memrepo_worker.threads.heaps import keep_little
from tests.support.delayed_store import DelayedStore

MIB = 1 << 20
CONNECTIONS_MAX = 32


FAR_S = 0.03
TRIES = 3


def main() -> None:
    """Do what the JSON argument says: ``store_url``, ``cache_dir``, ``org``, ``agent``, ``tries`` far away."""
    keep_little(environment())  # as a worker does
    job = json.loads(sys.argv[1])
    agent, folder = Agent(job["org"], job["agent"]), Path(job["cache_dir"])
    settings = WorkerSettings(store_url=job["store_url"])
    store = open_store(settings.store_url, StoreOptions(connections_max=CONNECTIONS_MAX))
    listed = list(store.list(Layout.of(agent.org_id, agent.agent_id).prefix))
    found = _opened(replace(settings, cache_dir=folder / "near"), store, agent)
    # A thread that comes late on a busy machine makes one round more of what goes side by side, and none fewer.
    far = [
        _opened(replace(settings, cache_dir=folder / f"far-{number}"), DelayedStore(store, FAR_S), agent)
        for number in range(job.get("tries", TRIES))
    ]
    if far:
        best = min(far, key=lambda one: one["rounds of a cold open"])
        found["rounds of a cold open"] = best["rounds of a cold open"]
        found["cold open 30 ms away, s"] = best["cold open, s"]
    found |= {
        "objects in the store": len(listed),
        "MiB in the store": sum(item.size for item in listed) / MIB,
    }
    print(json.dumps(found))


def _opened(settings: WorkerSettings, store: Store, agent: Agent) -> dict[str, float]:
    """Open the memory and read it; return what that took."""
    request = build(
        GetFilesRequest,
        org_id=agent.org_id,
        agent_id=agent.agent_id,
        request_id="cold-open",
        enqueued_at=time.time(),
    )
    group, counters, process = Group(agent, (request,), Lease("cold", math.inf)), Counters(), psutil.Process()
    with open_service(settings, counters, store=store) as service:
        before = process.memory_info().rss
        start_s = time.perf_counter()
        (outcome,) = service(group)
        seconds = time.perf_counter() - start_s
        if not isinstance(
            outcome, Success | TooLargeError
        ):  # it is open also where it is too large to be read
            raise TypeError(f"it cannot be opened: {outcome}")
        grown = process.memory_info().rss - before
        disk_bytes = service.cache.accounts.usage.disk_bytes
    counts = counters.snapshot()
    return {
        "cold open, s": seconds,
        "rounds of a cold open": counts["store.rounds"],
        "objects read by it": counts["store.get.requests"],
        "MiB read by it": counts["store.get.bytes"] / MIB,
        "MiB of memory more by it": grown / MIB,
        "MiB of disk of the warm repository": disk_bytes / MIB,
    }


if __name__ == "__main__":
    main()
