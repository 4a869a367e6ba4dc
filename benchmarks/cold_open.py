"""A process that opens one memory cold, and prints what that took and what there is of it, as JSON."""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path

import psutil

from benchmarks.timing import timed
from memrepo.wire.operations import build
from memrepo.wire.requests.reads import GetFilesRequest
from memrepo_worker.assembly import open_service
from memrepo_worker.group import Agent, Group, Lease
from memrepo_worker.journal.layout import Layout
from memrepo_worker.observe import Counters
from memrepo_worker.settings import WorkerSettings
from memrepo_worker.store.open import open_store
from memrepo_worker.store.options import StoreOptions

MIB = 1 << 20


def main() -> None:
    """Do what the JSON argument says: ``store_url``, ``cache_dir``, ``org``, ``agent``."""
    job = json.loads(sys.argv[1])
    agent, counters = Agent(job["org"], job["agent"]), Counters()
    settings = WorkerSettings(store_url=job["store_url"], cache_dir=Path(job["cache_dir"]))
    store = open_store(settings.store_url, StoreOptions())
    listed = list(store.list(Layout.of(agent.org_id, agent.agent_id).prefix))
    request = build(
        GetFilesRequest,
        org_id=agent.org_id,
        agent_id=agent.agent_id,
        request_id="cold",
        enqueued_at=time.time(),
    )
    group = Group(agent, (request,), Lease("cold", math.inf))
    process = psutil.Process()
    with open_service(settings, counters, store=store) as service:
        before = process.memory_info().rss
        seconds = timed(lambda: service(group))
        grown = process.memory_info().rss - before
        disk_bytes = service.cache.usage.disk_bytes
    counts = counters.snapshot()
    found = {
        "cold open s": seconds,
        "objects in the store": len(listed),
        "MiB in the store": sum(item.size for item in listed) / MIB,
        "objects read": counts["store.get.requests"],
        "listings": counts["store.list.requests"],
        "MiB of memory more": grown / MIB,
        "MiB of disk": disk_bytes / MIB,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
