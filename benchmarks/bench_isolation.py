"""What one agent's load does to others: commits of 50 healthy agents beside it, against the same agents alone.

Two cores are shared by all: healthy clients, broker, store, worker, and the client that does the load. Elsewhere the
last is on another machine, and what it computes is not the worker's doing. So loads that take their client much are
made before anything is measured and then only pushed (``prepared``), at the priority of all else; what it took of a
core meanwhile is told with each figure. A row is worth nothing where its load stopped or was starved, so how much of it
is answered is a figure, too: a share of what is answered where no healthy agent is, measured in the same run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.bench_processes import wait_until_shared
from benchmarks.figures import Figure, at_least, at_most, p50, p95
from benchmarks.hostile_load import Load, doing_harm
from benchmarks.lab import Bench, Lab
from benchmarks.neighbours import commit_times, memory_peak
from memrepo_worker.settings import WorkerSettings
from tests.support.hostile import ORG, REFUSED
from tests.support.waiting import wait_for

ALONE_S, LOAD_ALONE_S, BESIDE_S = 10.0, 6.0, 15.0
LOAD_FIRST_S = 30.0
"""How long at most until the first of its requests is answered where nobody else asks for anything."""
REFUSED_S, REFUSED_LONG_S = 20.0, 70.0
"""For so long, alone and beside: in the long form, each agent's 64 newest entries are folded once in either."""
LOADS: Sequence[str] = (
    "files of newlines",
    "reads of 60 KB",
    "histories of large files",
    "diffs of new files",
    "lines of one letter",
    "conflicting merges",
    "large commits",
    "a deep group",
    "forged messages",
    "a forged record",
    "bodies that unpack",
    "a refused prefix",
    "a base beyond all numbers",
    "a billion paths",
    "256 MiB in 256 KB",
    "300,000 refs",
    "cold journals",
)
ANSWERED_LEAST = 0.1
"""What share of its own pace a load has to keep beside the healthy agents: below that it is the load that gave way."""
GIB = 1024**3
LEASE_S = WorkerSettings.lease_s


def isolation(lab: Lab) -> Iterator[Figure]:
    """Measure beside each load of hostile agents, the worker's memory and what the load got done as well."""
    for name in LOADS:
        if lab.part in name:
            yield from _beside(lab, name)


def _beside(lab: Lab, name: str) -> Iterator[Figure]:
    refuses = lab.new_folder(f"refusing-{lab.next_number()}") / "refuses"
    refuses.write_text(f"refuses {ORG}/{REFUSED}\n")
    with (
        lab.worker(refuses=refuses if name == "a refused prefix" else None) as bench,
        memory_peak(bench.pid) as peak,
    ):
        commit_times(bench, 1.0)  # warm
        alone = commit_times(bench, ALONE_S)
        with doing_harm(lab, bench, name) as load:
            own = _Pace(load)
            time.sleep(LOAD_ALONE_S)
            wait_for(lambda: own.answered, "the load to get something done", LOAD_FIRST_S)
            own_per_s, _ = own.until_now()
            meanwhile = _Pace(load)
            beside = commit_times(bench, BESIDE_S)
            per_s, of_a_core = meanwhile.until_now()
    parts = {**_parts(alone, beside), "commits beside": len(beside), "load's client, of a core": of_a_core}
    yield Figure(f"commit p95 beside {name} / alone", p95(beside) / p95(alone), "x", at_most(3), parts)
    paces = {"without healthy agents /s": own_per_s, "beside them /s": per_s}
    share = per_s / own_per_s
    yield Figure(f"requests of {name} answered / by itself", share, "x", at_least(ANSWERED_LEAST), paces)
    yield Figure(f"memory of the worker beside {name}", peak.bytes / GIB, "GiB", at_most(1))


class _Pace:
    """What a load gets done, and takes of a core, from now on."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._answered, self._cpu_s = load.answered, load.cpu_s
        self._began_s = time.monotonic()

    @property
    def answered(self) -> int:
        """How much it has got done."""
        return self._load.answered - self._answered

    def until_now(self) -> tuple[float, float]:
        """Return how many requests were answered in a second, and how much of a core that took."""
        seconds = time.monotonic() - self._began_s
        return (
            self.answered / seconds,
            (self._load.cpu_s - self._cpu_s) / seconds,
        )


def refused(lab: Lab) -> Iterator[Figure]:
    """Measure beside agents whose store refuses them, or hangs; and a hand-over meanwhile."""
    seconds = REFUSED_LONG_S if lab.long else REFUSED_S
    for what, count in (("refuses", 16), ("refuses", 64), ("hangs", 16), ("hangs", 64)):
        file = lab.new_folder(f"refusing-{lab.next_number()}") / "refuses"
        with lab.worker(refuses=file) as bench:
            commit_times(bench, 1.0)
            alone = commit_times(bench, seconds)
            _stop_agents(bench, file, what, count)
            beside = commit_times(bench, seconds)
            name = f"commit p95 beside {count} agents whose store {what}"
            yield Figure(f"{name} / alone", p95(beside) / p95(alone), "x", at_most(2), _parts(alone, beside))
            if what == "refuses":
                took_s = _hand_over_s(lab, bench)
                yield Figure(f"hand-over beside {count} such agents", took_s, "s", at_most(LEASE_S + 2))


def _stop_agents(bench: Bench, file: Path, what: str, count: int) -> None:
    """Have so many agents ask for what their store does not do."""
    file.write_text(f"{what} {ORG}/{REFUSED}\n")
    for number in range(count):
        repo = bench.repos.repo(org_id=ORG, agent_id=f"{REFUSED}-{number}")
        repo.commit({"a.md": "x"}, "m", create_repo_if_missing=True).pending.look_at()


def _hand_over_s(lab: Lab, bench: Bench) -> float:
    """Start a second worker; return how long it is there until it owns half of the shards."""
    with lab.second_worker(bench):
        return wait_until_shared(bench)


def _parts(alone: list[float], beside: list[float]) -> dict[str, float]:
    return {
        "alone p50 ms": p50(alone) * 1e3,
        "alone p95 ms": p95(alone) * 1e3,
        "beside p50 ms": p50(beside) * 1e3,
        "beside p95 ms": p95(beside) * 1e3,
        "beside max ms": max(beside) * 1e3,
    }
