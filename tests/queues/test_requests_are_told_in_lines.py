"""The line that a worker writes for each request when it is asked to: shape and times, nothing of what was said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from memrepo import MemoryRepos, Settings
from memrepo_worker.settings import WorkerSettings
from tests.queues.conftest import SHARDS
from tests.queues.test_a_worker_talks import logged
from tests.support.sending import Sender, commit_request, sender
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import wait_for
from tests.support.workers import WorkerProcess, fleet

DELAY_S = 0.05
"""How far the store is: what a turn waits for it is at least that."""

PHASES = ("queue_ms", "mailbox_ms", "work_ms", "store_ms", "answer_ms")


@pytest.fixture(scope="module")
def far_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(scope="module")
def worker(
    far_broker: Valkey, settings: WorkerSettings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WorkerProcess]:
    """A worker of the real service that tells of requests, and of nothing below a warning else."""
    folder = tmp_path_factory.mktemp("telling")
    url = far_broker.url
    values = replace(
        settings,
        broker_url=url,
        result_url=url,
        log_level="WARNING",
        log_format="json",
        log_requests=True,
        concurrency=1,
    )
    argument = {"folder": str(folder), "delay_s": DELAY_S}
    with fleet(folder / "logs", values, "tests.support.real_service:real_service", argument) as workers:
        yield workers.start("w1")


@pytest.fixture
def send(far_broker: Valkey, worker: WorkerProcess) -> Iterator[Sender]:
    with sender(far_broker, SHARDS) as sending:
        yield sending


def line_of(worker: WorkerProcess, request_id: str) -> dict[str, Any]:
    """Return the one line of a request."""

    def lines() -> list[dict[str, Any]]:
        return [record for record in logged(worker, "request") if record["request_id"] == request_id]

    (line,) = wait_for(lines, f"the line of {request_id}")
    return line


def test_a_commit_is_told_with_its_sha_and_where_its_time_went(send: Sender, worker: WorkerProcess) -> None:
    one = send.send(commit_request("acme", "ann", "SECRET-CONTENT", create_repo_if_missing=True))
    send.final(one)

    line = line_of(worker, one)

    assert (line["operation"], line["agent"], line["outcome"], line["error"]) == (
        "commit",
        "acme/ann",
        "done",
        None,
    )
    assert line["result"].startswith("commit ")
    assert line["result"].endswith(" main 1 files")
    assert line["job_id"] == one
    assert line["logger"] == "memrepo_worker.requests"
    assert line["level"] == "INFO"
    assert line["store_ms"] >= 1000 * DELAY_S
    assert all(line[phase] >= 0 for phase in PHASES)
    assert line["total_ms"] == pytest.approx(sum(line[phase] for phase in PHASES), abs=0.01)
    assert f"commit acme/ann {one} done in " in line["message"]


def test_fetches_side_by_side_are_one_wait_for_the_store(send: Sender, worker: WorkerProcess) -> None:
    """A cold open asks for several things at once, in threads."""
    one = send.read("acme", "nobody")
    send.final(one)

    line = line_of(worker, one)

    assert (line["outcome"], line["error"], line["result"]) == ("failed", "RepoNotFoundError", None)
    assert 1000 * DELAY_S <= line["store_ms"] <= line["total_ms"]


def test_requests_that_shared_a_turn_say_so(send: Sender, worker: WorkerProcess) -> None:
    worker.pause()  # so that all are waiting when it goes on
    first = send.send(commit_request("acme", "bob", create_repo_if_missing=True))
    rest = [send.commit("acme", "bob", content=bytes([65 + number])) for number in range(3)]
    worker.resume()
    for one in (first, *rest):
        send.final(one)

    groups = [line_of(worker, one)["group"] for one in rest]

    assert groups[0] >= 1
    assert max(groups) > 1
    assert line_of(worker, rest[-1])["mailbox_ms"] > 0


def test_a_request_that_is_refused_before_its_turn_has_a_line_too(
    send: Sender, worker: WorkerProcess
) -> None:
    one = send.commit("acme", "ann", message="")
    send.final(one)

    line = line_of(worker, one)

    assert (line["operation"], line["outcome"], line["error"]) == ("commit", "failed", "InvalidRequestError")
    assert line["store_ms"] == 0


def test_a_request_that_was_cancelled_has_a_line_too(
    send: Sender, worker: WorkerProcess, far_broker: Valkey
) -> None:
    request = commit_request("acme", "ann")
    with MemoryRepos(settings=Settings(far_broker.url, far_broker.url, shards=SHARDS)) as repos:
        repos.job(request.request_id).cancel()

    line = line_of(worker, send.send(request))

    assert (line["operation"], line["agent"], line["outcome"]) == ("commit", "acme/ann", "cancelled")
    assert (line["work_ms"], line["store_ms"]) == (0, 0)


def test_nothing_of_what_was_said_is_in_the_lines(send: Sender, worker: WorkerProcess) -> None:
    one = send.commit("acme", "ann", message="SECRET-CONTENT")
    send.final(one)
    line_of(worker, one)

    assert not [word for word in ("SECRET-CONTENT", "secret-path") if word in worker.output]
