"""A server that takes the connection and then says nothing: that is told, soon, and of the server that it is."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner
from redis.exceptions import ConnectionError as RedisConnectionError

from memrepo import BrokerUnavailableError, MemoryRepos, Settings
from memrepo.cli.main import main
from memrepo.clock import steady_clock
from memrepo.dispatch.replies import Replies
from memrepo_worker.app import build_app
from memrepo_worker.queues import reach
from memrepo_worker.settings import WorkerSettings
from tests.support.ports import LOOPBACK
from tests.support.waiting import given_time, wait_for

LONG_S = 60.0
SILENT = "it accepted the connection, but does not answer in time"


@dataclass
class SilentServer:
    """Takes every connection and says nothing."""

    listener: socket.socket
    taken: list[socket.socket] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"redis://{LOOPBACK}:{self.listener.getsockname()[1]}/0"

    def take(self) -> None:
        try:
            while True:
                self.taken.append(self.listener.accept()[0])
        except OSError:  # closed
            return


@contextmanager
def silence() -> Iterator[SilentServer]:
    with socket.create_server((LOOPBACK, 0)) as listener:
        server = SilentServer(listener)
        thread = threading.Thread(target=server.take)
        thread.start()
        yield server
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    for one in server.taken:
        one.close()


@pytest.fixture
def silent() -> Iterator[SilentServer]:
    with silence() as server:
        yield server


def test_a_client_is_told_that_the_connection_was_accepted(silent: SilentServer) -> None:
    def it_is_told(limit_s: float) -> None:
        settings = Settings(silent.url, silent.url, enqueue_timeout_s=limit_s)
        with MemoryRepos(settings=settings) as repos, pytest.raises(BrokerUnavailableError) as caught:
            repos.repo(org_id="acme", agent_id="agent-1").get_head_sha()

        assert f"did not take the request within {limit_s:g} s: {SILENT}: " in str(caught.value)

    given_time(it_is_told)


def test_who_closes_a_client_does_not_wait_for_an_answer_that_nobody_needs(silent: SilentServer) -> None:
    replies = Replies(
        Settings(silent.url, silent.url, enqueue_timeout_s=LONG_S, connect_timeout_s=LONG_S), "client-1"
    )
    replies.start()
    wait_for(lambda: silent.taken, "a connection")
    begun_s = steady_clock()

    replies.close()

    assert steady_clock() - begun_s < LONG_S / 2


@pytest.mark.parametrize("command", ["doctor", "shards", "worker"])
def test_a_command_waits_for_one_answer_of_one_server(
    command: str, silent: SilentServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach, "REACH_TIMEOUT_S", 0.3)
    env = {
        "MEMREPO_BROKER_URL": silent.url,
        "MEMREPO_STORE_URL": (tmp_path / "store").as_uri(),
        "MEMREPO_CACHE_DIR": str(tmp_path / "cache"),
    }

    told = CliRunner(env=env).invoke(main, [command])

    assert told.exit_code == 5
    assert f"The broker at {silent.url} cannot be used: {SILENT}: Timeout reading" in told.output
    wait_for(lambda: silent.taken, "the connection to be taken")
    assert len(silent.taken) == 1


def test_a_worker_names_the_server_that_takes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    urls = [f"redis://u:s3cr3t@{name}.example:6379/0" for name in ("broker", "results")]
    backend = build_app(WorkerSettings(broker_url=urls[0], result_url=urls[1])).backend
    tries = iter([RedisConnectionError("gone"), RedisConnectionError("gone"), None])

    def step() -> str:
        error = next(tries)
        if error is not None:
            raise error
        return "done"

    with caplog.at_level(logging.WARNING, "memrepo_worker.queues.results.backend"):
        assert backend.until_done(step, (), "broker") == "done"
        tries = iter([RedisConnectionError("gone"), None])
        assert backend.until_done(step, (), "result store") == "done"

    told = [record.getMessage() for record in caplog.records]
    assert [line.partition(" takes nothing")[0] for line in told[::2]] == [
        "the broker at redis://u:***@broker.example:6379/0",
        "the result store at redis://u:***@results.example:6379/0",
    ]
    for began, over in zip(told[::2], told[1::2], strict=True):
        assert over.startswith("over after ")
        assert began.partition("; next try")[0] in over
