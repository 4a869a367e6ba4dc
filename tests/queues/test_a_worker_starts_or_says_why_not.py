from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path

import redis

from memrepo.limits import Limits
from memrepo_worker.app import build_app
from memrepo_worker.observe import Counters
from memrepo_worker.queues.leases.leases import RedisLeases
from memrepo_worker.queues.leases.owned import OwnedShards
from memrepo_worker.queues.transport.context import ShardContext
from memrepo_worker.queues.transport.messages import RedisMessages
from memrepo_worker.settings import WorkerSettings
from tests.queues.conftest import HANDLER
from tests.support.ports import closed_port
from tests.support.sending import Sender
from tests.support.workers import fleet


def test_an_unreachable_broker_is_one_line_and_exit_code_1(settings: WorkerSettings, tmp_path: Path) -> None:
    nowhere = f"redis://127.0.0.1:{closed_port()}/0"
    with fleet(tmp_path, replace(settings, broker_url=nowhere), HANDLER, nowhere) as workers:
        worker = workers.start()
        assert worker.process.wait(20) == 1
    assert (
        worker.output
        == f"memrepo worker: The broker at {nowhere} cannot be reached: nobody listens there: Connection refused.\n"
    )
    assert worker.output.count("\n") == 1


def test_another_number_of_shards_is_refused(send: Sender, settings: WorkerSettings, tmp_path: Path) -> None:
    with fleet(
        tmp_path, replace(settings, shards=settings.shards + 1), HANDLER, settings.broker_url
    ) as workers:
        worker = workers.start()
        assert worker.process.wait(20) == 1
    assert "MEMREPO_SHARDS: is 5 here, but the workers of this broker use 4" in worker.output


def test_another_rule_for_names_is_refused(send: Sender, settings: WorkerSettings, tmp_path: Path) -> None:
    other = replace(settings, limits=Limits(portable_names="posix"))
    with fleet(tmp_path, other, HANDLER, settings.broker_url) as workers:
        worker = workers.start()
        assert worker.process.wait(20) == 1
    assert (
        "MEMREPO_PORTABLE_NAMES: is posix here, but the workers of this broker use everywhere"
        in worker.output
    )


def test_another_list_of_cells_is_refused(send: Sender, settings: WorkerSettings, tmp_path: Path) -> None:
    url = settings.broker_url
    listed = replace(settings, broker_url=url, cells=f"a={url} b=redis://127.0.0.1:1/0", cell="a")
    with fleet(tmp_path, listed, HANDLER, url) as workers:
        worker = workers.start()
        assert worker.process.wait(20) == 1
    assert "MEMREPO_CELLS: is a, b here, but the workers of cell a use none;" in worker.output


def test_settings_come_from_the_environment_with_the_broker_also_keeping_results() -> None:
    settings = WorkerSettings.from_env(
        {"MEMREPO_BROKER_URL": "redis://b/1", "MEMREPO_CONCURRENCY": "3", "MEMREPO_CACHE_DIR": "/c"}
    )
    assert (settings.broker_url, settings.result_url) == ("redis://b/1", "redis://b/1")
    assert WorkerSettings(broker_url="redis://b/1").result_url == "redis://b/1"
    assert (settings.concurrency, settings.cache_dir) == (3, Path("/c"))


def test_a_rediss_address_is_spoken_to_over_tls_with_the_servers_proof() -> None:
    tls = WorkerSettings(broker_url="rediss://h:1/0", result_url="rediss://h:1/0")
    broker = redis.Redis()
    leases, messages = RedisLeases(broker, "w", 1.0), RedisMessages(broker)
    app = build_app(tls, ShardContext(leases, messages, OwnedShards(), Counters()))

    with app.connection_for_read() as connection:
        assert connection.ssl == {"ssl_cert_reqs": "required"}
    assert app.backend.connparams["connection_class"] is redis.SSLConnection
    assert app.backend.connparams["ssl_cert_reqs"] is ssl.CERT_REQUIRED
