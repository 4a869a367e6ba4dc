"""What one small conditional create costs through boto3: as the SDK comes, and as ``memrepo_worker.store.s3`` sets it.

    python -m tests.benchmarks.bench_put [--puts 100] [--cpu-puts 2000]

Both run in turns against one SeaweedFS in one run, on connections that are open. "far" is through a proxy that adds
20 ms per round trip; CPU is this process's own, against the server without the proxy, the least of many short runs.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import boto3
import click
import pytest

from memrepo_worker.store.open import open_store
from memrepo_worker.store.seam import ABSENT
from tests.support.proxy import Proxy, proxy
from tests.support.seaweedfs import BUCKET, REGION, SeaweedFs, seaweedfs

ROUND_TRIP_S = 0.020
BODY = b"x" * 2000
CPU_RUN = 20

Put = Callable[[str], object]


def puts(server: SeaweedFs, endpoint_url: str) -> Mapping[str, Put]:
    """Return the ways to put, by name."""
    client = boto3.session.Session().client("s3", endpoint_url=endpoint_url, region_name=REGION)
    store = open_store(server.store_url("ours", endpoint_url))
    return {
        "boto3": lambda key: client.put_object(Bucket=BUCKET, Key=f"boto3/{key}", Body=BODY, IfNoneMatch="*"),
        "memrepo": lambda key: store.put(key, BODY, ABSENT),
    }


def once(put: Put) -> None:
    """Create an object under a new key."""
    put(uuid.uuid4().hex)


def measure_far(server: SeaweedFs, count: int) -> dict[str, dict[str, float]]:
    """Measure the time and the round trips of a put to a server that is 20 ms away."""
    with proxy(server.endpoint_url, delay_s=ROUND_TRIP_S / 2) as wire:
        ways = puts(server, wire.url)
        for put in ways.values():
            once(put)
        times: dict[str, list[float]] = {name: [] for name in ways}
        turns = dict.fromkeys(ways, 0)
        for _ in range(count):
            for name, put in ways.items():
                seconds, round_trips = timed(put, wire)
                times[name].append(seconds)
                turns[name] += round_trips
    return {
        name: {"p50_ms": statistics.median(times[name]) * 1e3, "round_trips": turns[name] / count}
        for name in ways
    }


def timed(put: Put, wire: Proxy) -> tuple[float, int]:
    """Return the seconds and round trips of one put."""
    turns, start = wire.turns, time.perf_counter()
    once(put)
    return time.perf_counter() - start, wire.turns - turns


def measure_cpu(server: SeaweedFs, count: int) -> dict[str, float]:
    """Measure this process's CPU per put, in milliseconds."""
    ways = puts(server, server.endpoint_url)
    least = dict.fromkeys(ways, float("inf"))
    for _ in range(max(2, count // CPU_RUN)):
        for name, put in ways.items():
            start = time.process_time()
            for _ in range(CPU_RUN):
                once(put)
            least[name] = min(least[name], (time.process_time() - start) / CPU_RUN * 1e3)
    return least


def measure(count: int, cpu_count: int) -> dict[str, object]:
    """Measure everything; ratios are of boto3 to memrepo: above 1, ours is cheaper."""
    with (
        tempfile.TemporaryDirectory() as folder,
        seaweedfs(Path(folder)) as server,
        pytest.MonkeyPatch.context() as env,
    ):
        for name, value in server.environment.items():
            env.setenv(name, value)
        far, cpu_ms = measure_far(server, count), measure_cpu(server, cpu_count)
    return {
        "far": far,
        "far_p50_ratio": far["boto3"]["p50_ms"] / far["memrepo"]["p50_ms"],
        "cpu_ms": cpu_ms,
        "cpu_ratio": cpu_ms["boto3"] / cpu_ms["memrepo"],
    }


@click.command()
@click.option("--puts", "count", default=100, show_default=True, help="Puts through the delay, each way.")
@click.option(
    "--cpu-puts", "cpu_count", default=2000, show_default=True, help="Puts for the CPU figure, each way."
)
def main(count: int, cpu_count: int) -> None:
    """Print the figures as JSON."""
    json.dump(measure(count, cpu_count), sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
