"""How a program ends that closes no client: what waits is sent, or said to be lost; a forked child leaves it alone."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from memrepo.limits import MIB
from memrepo.redis.libraries import CELERY, REDIS
from memrepo.routing import route
from memrepo.wire.operations import GET_HEAD_SHA
from memrepo.wire.payload_store import PayloadStore, result_payload
from memrepo.wire.record import claiming
from tests.producer.stand_in import StandIn
from tests.support.ports import LOOPBACK, closed_port
from tests.support.valkey import Valkey
from tests.support.waiting import given_time

QUEUE = route("acme", "agent-1")
JOB_ID = "0b0f1c6e-7a3c-4c63-8f0a-0d8f1f7f7f7f"
BEGIN = """
import asyncio, os, sys, threading, time
from memrepo import AsyncMemoryRepos, MemoryRepos, Settings
url, timeout_s = sys.argv[1], float(sys.argv[2])
settings = Settings(url, url, enqueue_timeout_s=timeout_s)

def fire(repos, count=50):
    repo = repos.repo(org_id="acme", agent_id="agent-1")
    for number in range(count):
        repo.commit({"a": str(number)}, "m")
"""


def run(program: str, url: str, timeout_s: float = 20.0, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-c", BEGIN + program, url, str(timeout_s)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


ENDS = {
    "at the end of the module": ("repos = AsyncMemoryRepos(settings=settings); fire(repos)", 0),
    "when asyncio.run ends": (
        "async def main(): fire(AsyncMemoryRepos(settings=settings))\nasyncio.run(main())",
        0,
    ),
    "by sys.exit": ("repos = AsyncMemoryRepos(settings=settings); fire(repos); sys.exit(3)", 3),
    "by an exception": ("repos = AsyncMemoryRepos(settings=settings); fire(repos); 1 / 0", 1),
    "in another thread": (
        "repos = AsyncMemoryRepos(settings=settings); threading.Thread(target=fire, args=[repos]).start()",
        0,
    ),
}


@pytest.mark.parametrize(("program", "code"), ENDS.values(), ids=ENDS.keys())
def test_what_waits_is_sent_however_the_program_ends(program: str, code: int, broker: Valkey) -> None:
    ended = run(program, broker.url, 20.0, "-W", "default::ResourceWarning")

    assert broker.client().llen(QUEUE) == 50
    assert ended.returncode == code
    assert "unclosed AsyncMemoryRepos of redis://" in ended.stderr
    assert ended.stderr.count("unclosed") == 1
    assert "not sent" not in ended.stderr


def test_what_waits_is_sent_also_where_warnings_are_errors(broker: Valkey) -> None:
    program = "repos = AsyncMemoryRepos(settings=settings); fire(repos)"

    ended = run(program, broker.url, 20.0, "-W", "error")

    assert broker.client().llen(QUEUE) == 50
    assert "ResourceWarning: unclosed AsyncMemoryRepos" in ended.stderr


def test_what_cannot_be_sent_is_told_within_the_time_that_sending_may_take() -> None:
    url = f"redis://{LOOPBACK}:{closed_port()}/0"

    def it_is_told(limit_s: float) -> None:  # in which the libraries are imported, too
        began = time.monotonic()
        ended = run("repos = AsyncMemoryRepos(settings=settings); fire(repos, 3)", url, limit_s)

        assert ended.returncode == 0
        assert ended.stderr.count("(commit of acme/agent-1) was not sent, and nobody looked at it") == 3
        assert ended.stderr.count("Connection refused") == 3
        assert ended.stderr.count("\n") == 3
        assert time.monotonic() - began < limit_s + 26

    given_time(it_is_told, (4.0, 10.0))


def test_what_a_stuck_name_look_up_holds_up_is_one_line(broker: Valkey) -> None:
    stuck = """
import socket
resolve = socket.getaddrinfo
socket.getaddrinfo = lambda host, *a, **k: time.sleep(60) if "broker" in str(host) else resolve(host, *a, **k)
repos = AsyncMemoryRepos(settings=Settings("redis://broker.example/0", url, enqueue_timeout_s=timeout_s))
fire(repos, 12)
"""

    def it_is_one_line(limit_s: float) -> None:  # in which the libraries are imported, too
        ended = run(stuck, broker.url, limit_s)

        assert ended.returncode == 0
        assert ended.stderr.startswith(
            "closed before the broker at redis://broker.example:6379/0 took 12 requests: job "
        )
        assert ended.stderr.endswith(", and 2 more\n")
        assert ended.stderr.count("\n") == 1

    given_time(it_is_one_line, (4.0, 10.0))


def test_a_large_result_that_does_not_come_holds_nothing_up(broker: Valkey, worker: StandIn) -> None:
    chunks = PayloadStore(broker.raw_client(), MIB)
    claim = chunks.put(result_payload(JOB_ID), GET_HEAD_SHA.result_to_payload("a" * 40), 300)
    worker.store(JOB_ID, "SUCCESS", claiming(claim))
    silent = f"""
from memrepo.wire.payload_store import PayloadStore
asked = threading.Event()
PayloadStore.get = lambda *_: (asked.set(), threading.Event().wait())
async def main():
    job = AsyncMemoryRepos(settings=settings).job("{JOB_ID}")
    waiting = asyncio.ensure_future(job.wait())
    assert await asyncio.to_thread(asked.wait, 20)
asyncio.run(main())
"""
    ended = run(silent, broker.url)

    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_failure_that_is_still_held_is_told_when_the_program_ends(broker: Valkey, worker: StandIn) -> None:
    worker.answer = lambda _: {"not": "a commit"}
    program = """
repos = MemoryRepos(settings=settings)
job = repos.repo(org_id="acme", agent_id="agent-1").commit({"a": "1"}, "m")
while not job.done():
    time.sleep(0.01)
"""
    ended = run(program, broker.url)

    assert ended.stderr.count("failed, and nobody looked at it: MemoryRepoError") == 1
    assert ended.stderr.count("\n") == 1


def test_a_forked_child_neither_sends_nor_tells_what_its_parent_has(broker: Valkey) -> None:
    program = f"""
away = AsyncMemoryRepos(settings=Settings("redis://{LOOPBACK}:{closed_port()}/0", enqueue_timeout_s=0.5))
there = AsyncMemoryRepos(settings=settings)
fire(away, 2)
fire(there, 50)
child = os.fork()
if child == 0:
    print("child", flush=True)
    sys.exit(0)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0
"""
    ended = run(program, broker.url)

    assert ended.stdout == "child\n"
    assert ended.stderr.count("was not sent") == 2
    assert broker.client().llen(QUEUE) == 50


def test_a_child_can_ask_for_a_job_of_its_parent(broker: Valkey, worker: StandIn) -> None:
    program = """
repos = MemoryRepos(settings=settings)
job = repos.repo(org_id="acme", agent_id="agent-1").get_head_sha()
child = os.fork()
assert job.result(timeout_s=30) == "a" * 40
if child:
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
"""
    assert run(program, broker.url).returncode == 0


@pytest.mark.parametrize("after_s", [0.0, 0.03, 0.1])
def test_a_child_that_is_forked_while_the_libraries_load_can_use_the_client(
    after_s: float, broker: Valkey, worker: StandIn
) -> None:
    program = f"""
repos = AsyncMemoryRepos(settings=settings)

async def main():
    fire(repos, 1)
    await asyncio.sleep({after_s})
    child = os.fork()
    if child:
        return child
    sync = MemoryRepos(settings=settings)
    assert sync.repo(org_id="acme", agent_id="agent-1").get_head_sha().result(timeout_s=30) == "a" * 40
    os._exit(0)

child = asyncio.run(main())
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0
"""
    worker.answer = lambda taken: "a" * 40 if taken.headers["task"].endswith("get_head_sha") else None

    ended = run(program, broker.url)

    assert ended.returncode == 0, ended.stderr


def test_listening_imports_nothing_by_and_by(broker: Valkey) -> None:
    program = """
from memrepo.dispatch.redis_results import connect
from memrepo.redis.libraries import import_redis
from memrepo.redis.rights import require_rights
from memrepo.wire.rights import PRODUCER_ON_RESULTS
import_redis()
before = set(sys.modules)
with connect(settings, lambda: None) as client, client.pubsub() as pubsub:
    require_rights(client, PRODUCER_ON_RESULTS, None)
    pubsub.subscribe("memrepo.replies.x")
    pubsub.get_message(timeout=5)
print(sorted(set(sys.modules) - before))
"""
    ended = run(program, broker.url)

    assert ended.stdout == "[]\n", ended.stderr


def test_the_threads_import_nothing_by_and_by(broker: Valkey, worker: StandIn) -> None:
    program = """
from memrepo.redis.libraries import import_celery
import memrepo.cli.main
import_celery()
before = set(sys.modules)
repos = MemoryRepos(settings=settings)
repo = repos.repo(org_id="acme", agent_id="agent-1")
repo.get_head_sha().result(timeout_s=30), repo.get_head_sha().describe(), repo.get_head_sha().cancel()
repos.close()
print(sorted(set(sys.modules) - before))
"""
    ended = run(program, broker.url)

    assert ended.stdout == "[]\n", ended.stderr
    assert set(REDIS) < set(CELERY)
