"""What one small conditional create costs through boto3: as the SDK comes, and as our S3 backend sets it.

Both take turns on connections that are open. "Far" is through a proxy that adds 20 ms per round trip; CPU is this
process's own, against the server without the proxy, the least of many short runs.
"""

from __future__ import annotations

import statistics
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import boto3
import pytest

from benchmarks.figures import Figure, at_most
from benchmarks.lab import Lab
from benchmarks.timing import WARM_UP, timed
from memrepo_worker.store.interface import ABSENT
from memrepo_worker.store.open import open_store
from tests.support.proxy import Proxy, proxy
from tests.support.seaweedfs import BUCKET, REGION, SeaweedFs

ROUND_TRIP_S = 0.020
BODY = b"x" * 2000
PUTS = 40
CPU_RUNS, CPU_RUN = 40, 20

Put = Callable[[str], object]


@dataclass(frozen=True)
class Cost:
    """What one way to put costs."""

    p50_ms: float
    round_trips: float
    cpu_ms: float


def put(lab: Lab) -> Iterator[Figure]:
    """Measure one put through a 20 ms delay, and its CPU."""
    with pytest.MonkeyPatch.context() as env:
        for name, value in lab.seaweedfs.environment.items():
            env.setenv(name, value)
        costs = measure(lab.seaweedfs)
    plain, ours = costs["boto3"], costs["memrepo"]
    yield Figure(
        "put through a 20 ms round trip: boto3's defaults / ours",
        plain.p50_ms / ours.p50_ms,
        "x",
        parts={"defaults p50 ms": plain.p50_ms, "ours p50 ms": ours.p50_ms},
    )
    trips = {"with boto3's defaults": plain.round_trips}
    yield Figure("network round trips per put", ours.round_trips, "", at_most(1), trips)
    yield Figure(
        "CPU of a put: boto3's defaults / ours",
        plain.cpu_ms / ours.cpu_ms,
        "x",
        parts={"defaults ms": plain.cpu_ms, "ours ms": ours.cpu_ms},
    )


def measure(server: SeaweedFs) -> Mapping[str, Cost]:
    """Measure both ways; the SDK finds its credentials in the environment."""
    far, cpu_ms = _measure_far(server), _measure_cpu(server)
    return {name: Cost(*far[name], cpu_ms[name]) for name in far}


def _ways(server: SeaweedFs, endpoint_url: str) -> Mapping[str, Put]:
    """Return the ways to put, by name, each used a few times already."""
    client = boto3.session.Session().client("s3", endpoint_url=endpoint_url, region_name=REGION)
    store = open_store(server.store_url("ours", endpoint_url))
    ways: Mapping[str, Put] = {
        "boto3": lambda key: client.put_object(Bucket=BUCKET, Key=f"boto3/{key}", Body=BODY, IfNoneMatch="*"),
        "memrepo": lambda key: store.put(key, BODY, ABSENT),
    }
    for way in ways.values():
        for _ in range(WARM_UP):
            _once(way)
    return ways


def _once(way: Put) -> None:
    """Create an object under a new key."""
    way(uuid.uuid4().hex)


def _measure_far(server: SeaweedFs) -> dict[str, tuple[float, float]]:
    """Return p50 in milliseconds and round trips of a put to a server that is 20 ms away."""
    with proxy(server.endpoint_url, delay_s=ROUND_TRIP_S / 2) as wire:
        ways = _ways(server, wire.url)
        puts: dict[str, list[tuple[float, int]]] = {name: [] for name in ways}
        for _ in range(PUTS):
            for name, way in ways.items():
                puts[name].append(_observed(way, wire))
    return {
        name: (statistics.median(times) * 1e3, sum(turns) / PUTS)
        for name, (times, turns) in ((name, zip(*pairs, strict=True)) for name, pairs in puts.items())
    }


def _observed(way: Put, wire: Proxy) -> tuple[float, int]:
    """Return the seconds and round trips of one put."""
    turns = wire.turns
    seconds = timed(lambda: _once(way))
    return seconds, wire.turns - turns


def _measure_cpu(server: SeaweedFs) -> dict[str, float]:
    """Return this process's CPU per put, in milliseconds."""
    ways = _ways(server, server.endpoint_url)
    least = dict.fromkeys(ways, float("inf"))
    for _ in range(CPU_RUNS):
        for name, way in ways.items():
            start = time.process_time()
            for _ in range(CPU_RUN):
                _once(way)
            least[name] = min(least[name], (time.process_time() - start) / CPU_RUN * 1e3)
    return least
