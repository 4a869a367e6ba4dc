from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from memrepo import BrokerUnavailableError, MemoryRepo, MemoryRepos, Settings
from tests.producer.stand_in import StandIn
from tests.support.ports import LOOPBACK, free_port
from tests.support.valkey import Valkey, valkey

PROMISED_S = 5.0


def seconds_to_be_refused(url: str) -> float:
    """Make one call with the default settings against an address and return how long the error took."""
    began = time.monotonic()
    repos = MemoryRepos(broker_url=url)
    with pytest.raises(BrokerUnavailableError) as caught:
        repos.repo(org_id="acme", agent_id="agent-1").get_head_sha()
    took_s = time.monotonic() - began
    repos.close()
    assert "password" not in str(caught.value)
    assert caught.value.details["request_id"]
    return took_s


@contextmanager
def silent_port() -> Iterator[int]:
    """A port that accepts connections and never answers."""
    with socket.create_server((LOOPBACK, 0), backlog=50) as listener:
        yield listener.getsockname()[1]


def test_a_port_where_nobody_listens_is_told_within_the_promised_time() -> None:
    assert seconds_to_be_refused(f"redis://u:password@{LOOPBACK}:{free_port()}/0") < PROMISED_S


def test_a_port_that_accepts_but_never_answers_is_told_within_the_promised_time() -> None:
    with silent_port() as port:
        assert seconds_to_be_refused(f"redis://u:password@{LOOPBACK}:{port}/0") < PROMISED_S


def test_a_name_that_does_not_resolve_is_told_within_the_promised_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gave_up = threading.Event()

    def resolver_without_an_answer(*_: object, **__: object) -> None:
        gave_up.wait(60)
        raise socket.gaierror("no answer")

    monkeypatch.setattr(socket, "getaddrinfo", resolver_without_an_answer)
    try:
        assert seconds_to_be_refused("redis://u:password@broker.example/0") < PROMISED_S
    finally:
        gave_up.set()


def test_a_broker_that_comes_back_in_time_takes_the_request(tmp_path: Path) -> None:
    with valkey(tmp_path) as server, MemoryRepos(broker_url=server.url) as repos:
        repo = repos.repo(org_id="acme", agent_id="agent-1")
        repo.get_head_sha()
        server.kill()
        restart = threading.Timer(0.5, server.start)
        restart.start()

        job = repo.get_head_sha()

        restart.join()
        with StandIn(server) as worker:
            assert job.result(timeout_s=10) == "a" * 40
        assert job.id in [taken.id for taken in worker.taken]


def test_requests_go_on_after_every_connection_was_cut(
    broker: Valkey, worker: StandIn, repo: MemoryRepo
) -> None:
    repo.get_head_sha().result(timeout_s=5)
    for _ in range(5):
        broker.cut_all_connections()
        assert repo.get_head_sha().result(timeout_s=10) == "a" * 40


def test_a_broker_that_refuses_the_password_is_told_without_showing_it(broker: Valkey) -> None:
    url = f"redis://nobody:password@{LOOPBACK}:{broker.port}/0"
    settings = Settings(url, url, enqueue_timeout_s=1.0)

    with (
        MemoryRepos(settings=settings) as repos,
        pytest.raises(BrokerUnavailableError, match=r"nobody:\*\*\*@"),
    ):
        repos.repo(org_id="acme", agent_id="agent-1").get_head_sha()


def test_a_store_of_results_that_is_down_is_told_when_a_job_is_asked_for() -> None:
    url = f"redis://{LOOPBACK}:{free_port()}/0"

    with MemoryRepos(broker_url=url) as repos, pytest.raises(BrokerUnavailableError, match="result store"):
        repos.job("0b0f1c6e-7a3c-4c63-8f0a-0d8f1f7f7f7f").status()
