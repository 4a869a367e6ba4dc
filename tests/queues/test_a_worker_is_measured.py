"""What Prometheus reads of a worker: each request once, what waits over all shards, and what it counts besides."""

from __future__ import annotations

import re
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from memrepo import MemoryRepos, RepoExistsError, Settings
from memrepo.errors import MemoryRepoBusyError, MemoryRepoError
from memrepo.routing import queue_name, route
from memrepo.wire.keys import agent_field, depths_key, unacked_key
from memrepo_worker.metrics import counters as counters_module
from memrepo_worker.metrics.joined import joined_registry
from memrepo_worker.metrics.queues import HELP, QueueMetrics
from memrepo_worker.metrics.server import CONNECTIONS_MAX, build_registry, listen, serving_metrics
from memrepo_worker.observe import Counters, RequestEnded
from memrepo_worker.queues.leases.status import ShardStatus
from tests.queues.conftest import SHARDS
from tests.support.commands import MEMREPO
from tests.support.started import started
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(scope="module")
def port(own_broker: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a worker's page."""
    folder = tmp_path_factory.mktemp("measured")
    env = {
        "MEMREPO_BROKER_URL": own_broker.url,
        "MEMREPO_STORE_URL": (folder / "store").as_uri(),
        "MEMREPO_CACHE_DIR": str(folder / "cache"),
        "MEMREPO_SHARDS": str(SHARDS),
        "MEMREPO_METRICS_PORT": "0",
    }
    log = folder / "memrepo.log"
    with started([MEMREPO, "worker"], folder=folder, env=env, ready=lambda: "ready: " in log.read_text()):
        (found,) = re.findall(r"metrics at http://127\.0\.0\.1:(\d+)/metrics", log.read_text())
        yield int(found)


@pytest.fixture
def repos(own_broker: Valkey, port: int) -> Iterator[MemoryRepos]:
    with MemoryRepos(settings=Settings(own_broker.url, own_broker.url, shards=SHARDS)) as repos:
        yield repos


Samples = dict[tuple[str, tuple[str, ...]], float]


def page(port: int) -> Samples:
    """Read the page: name and the values of its labels, in their names' order → value."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return samples_in(text_string_to_metric_families(text))


def samples_in(families: Iterable[Metric]) -> Samples:
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def requests(samples: Samples) -> float:
    return sum(value for (name, _), value in samples.items() if name == "memrepo_requests_total")


def test_each_request_is_counted_once_by_how_it_ended(port: int, repos: MemoryRepos) -> None:
    before = page(port)
    memory = repos.repo(org_id="acme", agent_id="measured")

    memory.create_repo().result(timeout_s=20)
    for number in range(5):
        memory.commit({"notes.md": f"{number}\n"}, "Learn").result(timeout_s=20)
    with pytest.raises(RepoExistsError):
        memory.create_repo().result(timeout_s=20)

    def counted() -> Samples | None:
        now = page(port)
        return now if requests(now) - requests(before) >= 7 else None

    after = wait_for(counted, "all seven to be counted")
    grown = {key: value - before.get(key, 0) for key, value in after.items()}
    assert requests(after) - requests(before) == 7
    assert grown["memrepo_requests_total", ("", "commit", "done")] == 5
    assert grown["memrepo_requests_total", ("", "create_repo", "done")] == 1
    assert grown["memrepo_requests_total", ("RepoExistsError", "create_repo", "failed")] == 1
    assert grown["memrepo_request_seconds_count", ("commit",)] == 5
    assert 0 < grown["memrepo_request_seconds_sum", ("commit",)] < 60
    assert all(grown["memrepo_request_phase_seconds_count", (phase,)] == 7 for phase in ("queue", "store"))
    assert grown["memrepo_entries_total", ("appended",)] == 7
    assert grown["memrepo_store_requests_total", ("put",)] >= 7
    assert grown["memrepo_cold_opens_total", ()] == 1


def test_what_waits_is_told_over_all_shards(port: int, repos: MemoryRepos) -> None:
    memory = repos.repo(org_id="acme", agent_id="waits")
    memory.create_repo().result(timeout_s=20)
    settled = wait_for(lambda: all_settled(page(port)), "all to be settled")
    assert settled["memrepo_oldest_waiting_seconds", ()] == 0
    assert settled["memrepo_shards", ()] == SHARDS
    assert settled["memrepo_broker_up", ()] == 1


def test_what_producers_refused_is_told_by_its_bound(own_broker: Valkey, port: int) -> None:
    def refused() -> tuple[float, float]:
        now = page(port)
        name = "memrepo_requests_refused_total"
        return now[name, ("agent_depth_max",)], now[name, ("shard_depth_max",)]

    by_agent, by_shard = refused()
    with own_broker.client() as client, client.pipeline() as pipeline:
        queue = route("acme", "floods", SHARDS)
        for _ in range(3):  # what no worker takes: it is taken by nobody, and not settled
            pipeline.hset(unacked_key(queue), str(-time.monotonic_ns()), "x")
        pipeline.hset(depths_key(queue), agent_field("acme", "floods"), 3)
        pipeline.execute()
    for bound in ("agent_depth_max", "shard_depth_max"):
        settings = replace(
            Settings(own_broker.url, own_broker.url, shards=SHARDS, agent_depth_max=0, shard_depth_max=0),
            **{bound: 2},  # type: ignore[arg-type]
        )
        with MemoryRepos(settings=settings) as repos:
            for _ in range(2):
                with pytest.raises(MemoryRepoBusyError, match=bound):
                    repos.repo(org_id="acme", agent_id="floods").commit({"a.md": "x"}, "m")
    with own_broker.client() as client:
        client.delete(unacked_key(queue), depths_key(queue))

    wait_for(lambda: refused() == (by_agent + 2, by_shard + 2), "both to be counted")


def all_settled(samples: Samples) -> Samples | None:
    unsettled, unowned = (
        samples["memrepo_requests_unsettled", ()],
        samples["memrepo_shards_without_owner", ()],
    )
    return samples if unsettled == unowned == 0 else None


def shard(number: int, owner: str | None, waiting: int, in_flight: int) -> ShardStatus:
    oldest_s = 12.5 * waiting if waiting else None
    return ShardStatus(
        shard=number,
        queue=queue_name(number),
        owner=owner,
        waiting=waiting,
        in_flight=in_flight,
        oldest_waiting_s=oldest_s,
        oldest_in_flight_s=3.0 if in_flight else None,
        lease_left_s=5.0 if owner else None,
    )


def test_shards_add_up_and_the_oldest_counts() -> None:
    shards = [shard(0, "w1", 3, 2), shard(1, None, 1, 0), shard(2, "w1", 0, 0)]

    families = QueueMetrics(lambda: shards, read_refused=lambda: {"agent_depth_max": 7}).families()
    values = {family.name: family.samples[0].value for family in families}

    assert values == {
        "memrepo_broker_up": 1,
        "memrepo_requests_unsettled": 6,
        "memrepo_requests_waiting": 4,
        "memrepo_requests_in_flight": 2,
        "memrepo_oldest_waiting_seconds": 37.5,
        "memrepo_oldest_in_flight_seconds": 3.0,
        "memrepo_shards_without_owner": 1,
        "memrepo_shards": 3,
        "memrepo_requests_refused": 7,
    }


def test_what_is_told_of_one_of_several_brokers_says_which() -> None:
    shards, refused = [shard(0, "w1", 3, 2)], {"agent_depth_max": 7}
    pages = {cell: build_registry(Counters(), lambda: shards, lambda: refused, cell) for cell in ("a", "")}

    labels = {
        cell: {
            sample.name: set(sample.labels)
            for family in registry.collect()
            for sample in family.samples
            if sample.name.startswith("memrepo_")
        }
        for cell, registry in pages.items()
    }

    told = {name for name, of_sample in labels["a"].items() if "cell" in of_sample}
    assert told == {"memrepo_worker_info", "memrepo_requests_refused_total", *HELP}
    assert {name: of_sample | {"cell"} for name, of_sample in labels[""].items() if name in told} == {
        name: labels["a"][name] for name in told
    }
    assert not any("cell" in of_sample for of_sample in labels[""].values())


def test_scrapes_within_a_second_share_one_look_at_the_broker() -> None:
    looks: list[int] = []
    now_s = [100.0]

    def look() -> list[ShardStatus]:
        looks.append(1)
        return [shard(0, "w1", len(looks), 0)]

    queues = QueueMetrics(look, lambda: now_s[0])
    for _ in range(50):
        queues.families()
    assert len(looks) == 1
    now_s[0] += 1.0
    queues.families()
    assert len(looks) == 2


def test_a_broker_that_is_away_leaves_the_page_readable() -> None:
    def away() -> list[ShardStatus]:
        raise ConnectionRefusedError

    counters = Counters()
    registry = build_registry(counters, away)
    counters.count("bounds.turn_time", 2)
    with serving_metrics(registry, listen("127.0.0.1", 0)) as port:
        samples = page(port)

    assert samples["memrepo_broker_up", ()] == 0
    assert ("memrepo_requests_unsettled", ()) not in samples, "what is not known is not told as 0"
    assert samples["memrepo_bounds_hit_total", ("turn_time",)] == 2


def test_the_pages_of_processes_are_joined_also_behind_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    counters = Counters()
    counters.count("bounds.turn_time", 2)
    with serving_metrics(build_registry(counters, list), listen("127.0.0.1", 0)) as port:
        pages = {3: f"http://127.0.0.1:{port}/metrics"}
        samples = samples_in(joined_registry(lambda: pages, 4).collect())

    assert samples["memrepo_processes", ()] == 4
    assert samples["memrepo_processes_up", ()] == 1
    assert samples["memrepo_bounds_hit_total", ("turn_time", "3")] == 2


def test_a_process_that_ends_while_it_answers_is_left_out_of_the_joined_page() -> None:
    def break_off(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 1000\r\n\r\nmemrepo_sh")

    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        serving_metrics(build_registry(Counters(), list), listen("127.0.0.1", 0)) as port,
    ):
        thread = threading.Thread(target=break_off, args=(server,), daemon=True)
        thread.start()
        pages = {
            1: f"http://127.0.0.1:{server.getsockname()[1]}/metrics",
            2: f"http://127.0.0.1:{port}/metrics",
        }
        samples = samples_in(joined_registry(lambda: pages, 2).collect())
        thread.join(10)

    assert samples["memrepo_processes_up", ()] == 1
    assert samples["memrepo_broker_up", ("2",)] == 1


def test_the_pages_of_processes_are_read_side_by_side() -> None:
    asked = threading.Barrier(2)

    def answer(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(4096)
            asked.wait(20)  # until the other one was asked, too
            connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nmemrepo_shards 4\n")

    with ExitStack() as servers:
        pages = {number: servers.enter_context(page_by(answer)) for number in (1, 2)}
        samples = samples_in(joined_registry(lambda: pages, 2, timeout_s=20).collect())

    assert samples["memrepo_processes_up", ()] == 2
    assert samples["memrepo_shards", ("2",)] == 4


def test_pages_that_hang_or_never_end_are_left_out() -> None:
    def drip(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection, suppress(OSError):
            connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
            while True:
                connection.sendall(b"#")
                time.sleep(0.02)

    with ExitStack() as servers:
        silent = servers.enter_context(socket.create_server(("127.0.0.1", 0)))
        pages = {
            1: f"http://127.0.0.1:{silent.getsockname()[1]}/metrics",
            2: servers.enter_context(page_by(drip)),
        }
        samples = samples_in(joined_registry(lambda: pages, 2, timeout_s=0.2).collect())

    assert samples["memrepo_processes_up", ()] == 0


@contextmanager
def page_by(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """Give the address of a page that a function serves."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/metrics"


def test_connections_that_never_ask_keep_no_more_than_a_few_threads_and_nobody_out() -> None:
    before = threading.active_count()
    with (
        serving_metrics(build_registry(Counters(), list), listen("127.0.0.1", 0)) as port,
        ExitStack() as idle,
    ):
        connections = [
            idle.enter_context(socket.create_connection(("127.0.0.1", port)))
            for _ in range(3 * CONNECTIONS_MAX)
        ]

        assert page(port)
        assert connections[0].recv(1) == b"", "the oldest is closed"
        wait_for(lambda: threading.active_count() <= before + 1 + CONNECTIONS_MAX, "few threads")


def test_a_port_that_is_taken_is_refused_by_its_settings_name() -> None:
    registry = build_registry(Counters(), list)
    with (
        serving_metrics(registry, listen("127.0.0.1", 0)) as port,
        pytest.raises(
            MemoryRepoError, match=rf"MEMREPO_METRICS_PORT.*127\.0\.0\.1:{port} cannot be listened at"
        ),
    ):
        listen("127.0.0.1", port)


def test_no_series_tells_when_another_began() -> None:
    counters = Counters()
    registry = build_registry(counters, list)
    counters.request_ended(
        RequestEnded("commit", "acme/ann", "r", "j", "done", None, "", 1, 0.1, 0.1, 0.1, 0.1, 0.1)
    )

    names = {sample.name for family in registry.collect() for sample in family.samples}

    assert "memrepo_request_seconds_count" in names
    assert [name for name in names if name.endswith("_created")] == []


def test_every_metric_is_documented_and_every_documented_one_is_there() -> None:
    counters = Counters()
    registry = build_registry(counters, lambda: [shard(0, "w1", 1, 1)])
    counters.request_ended(
        RequestEnded("commit", "acme/ann", "r", "j", "done", None, "", 1, 0.1, 0.1, 0.1, 0.1, 0.1)
    )
    counters.count("bounds.turn_time")
    counters.count("something.else")
    exported = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in registry.collect()
        if family.name.startswith("memrepo_")
    }
    text = (ROOT / "docs/monitoring.md").read_text()
    documented = set(re.findall(r"^\| `(memrepo_\w+)", text, re.MULTILINE))

    assert exported == documented
    assert {name.metric for name in counters_module.TABLE.values()} <= set(counters_module.HELP)
