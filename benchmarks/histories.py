"""A process that makes histories straight through the service, without a queue: the journal is what a worker writes.

Each commit is an entry of its own. Its cache is left behind: a worker that gets it finds the memories warm. A history
that is there in part, because an earlier run was ended, goes on where it stopped.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.lab import ORG, Lab
from benchmarks.texts import Texts, changed
from memrepo.models import FileChange
from memrepo.wire.operations import build
from memrepo.wire.requests.base import Request
from memrepo.wire.requests.writes import CommitRequest, CreateRepoRequest
from memrepo_worker.assembly import open_service
from memrepo_worker.group import Agent, Group, Lease, Success
from memrepo_worker.journal.layout import Layout
from memrepo_worker.observe import Counters
from memrepo_worker.service.handler import Service
from memrepo_worker.settings import WorkerSettings
from memrepo_worker.store.interface import Store
from memrepo_worker.store.open import open_store
from memrepo_worker.store.options import StoreOptions
from memrepo_worker.upkeep.runner import UpkeepRunner

TIMEOUT_S = 3600.0
UPKEEP_WAIT_S = 600.0


@dataclass(frozen=True)
class Histories:
    """What is to be made: for each agent a memory of ``files`` files and ``commits`` commits, of two files each."""

    agents: Sequence[str]
    commits: int
    files: int = 200
    fold: bool = True


def make(lab: Lab, store_url: str, cache_dir: Path, wanted: Histories) -> None:
    """Make histories in a store, or what is left of them; what is warm of them is left in a cache folder."""
    job = {"store_url": store_url, "cache_dir": str(cache_dir), **vars(wanted)}
    lab.run("benchmarks.histories", job, timeout_s=TIMEOUT_S)


@dataclass
class _Maker:
    service: Service
    store: Store
    texts: Texts = field(default_factory=Texts)

    def make(self, agent: str, wanted: Histories) -> None:
        made = sum(1 for _ in self.store.list(Layout.of(ORG, agent).journal))
        if not made:
            self._ask(agent, 0, CreateRepoRequest, initial_files=_listed(self.texts.files(wanted.files)))
        for number in range(max(1, made), wanted.commits):
            changes = self.texts.changes(*changed(number, wanted.commits, wanted.files))
            self._ask(agent, number, CommitRequest, changes=_listed(changes), message=f"Learn {number}")

    def _ask(self, agent: str, number: int, kind: type[Request], **body: Any) -> None:
        request = build(
            kind,
            org_id=ORG,
            agent_id=agent,
            request_id=f"made-{number:08d}",
            enqueued_at=time.time(),
            **body,
        )
        (outcome,) = self.service(Group(Agent(ORG, agent), (request,), Lease("made", math.inf)))
        if not isinstance(outcome, Success):
            raise TypeError(f"a history could not be made: {outcome}")


def _listed(texts: Mapping[str, str]) -> list[FileChange]:
    return [FileChange(path=path, content=text) for path, text in texts.items()]


def main() -> None:
    """Do what the JSON argument says: ``store_url``, ``cache_dir``, and the fields of ``Histories``."""
    job = json.loads(sys.argv[1])
    store_url, cache_dir = job.pop("store_url"), Path(job.pop("cache_dir"))
    wanted = Histories(**job)
    settings = WorkerSettings(store_url=store_url, cache_dir=cache_dir, fold=wanted.fold)
    counters = Counters()
    upkeep = UpkeepRunner(counters)
    store = open_store(store_url, StoreOptions())
    with open_service(settings, counters, store=store, upkeep=upkeep) as service:
        maker = _Maker(service, store)
        for agent in wanted.agents:
            maker.make(agent, wanted)
        upkeep.wait_until_idle(UPKEEP_WAIT_S)


if __name__ == "__main__":
    main()
