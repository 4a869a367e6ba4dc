from __future__ import annotations

import asyncio
import threading
import uuid
from collections import Counter
from functools import partial

import pytest

from memrepo import (
    AsyncMemoryRepos,
    InvalidRequestError,
    MemoryRepo,
    MemoryRepoBusyError,
    MemoryRepos,
    Settings,
)
from memrepo.routing import route
from memrepo.wire.keys import SHARDS_KEY, unacked_key
from tests.producer.stand_in import StandIn
from tests.support.valkey import Valkey

QUEUE = route("acme", "agent-1")


def test_a_request_is_the_message_that_the_protocol_fixes(worker: StandIn, repo: MemoryRepo) -> None:
    job = repo.commit({"/secret.md": "tea\n", "b.bin": b"\xff", "old.md": None}, "a secret message")

    [taken] = worker.wait_taken(1)
    assert taken.queue == route("acme", "agent-1")
    assert taken.id == job.id == job.request_id
    assert taken.headers["task"] == "memrepo.commit"
    assert taken.headers["argsrepr"] == "()"
    assert taken.headers["kwargsrepr"] == "acme/agent-1 main 3 changes 5 bytes"
    assert taken.headers["ignore_result"] is False
    assert taken.headers["eta"] is taken.headers["expires"] is None
    assert taken.properties["reply_to"].startswith("memrepo.replies.")
    assert taken.properties["correlation_id"] == job.id
    assert taken.envelope["content-type"] == "application/json"
    args, kwargs, _ = taken.body
    assert args == []
    assert list(kwargs) == ["request"]
    assert [(change["path"], change.get("content")) for change in taken.request["changes"]] == [
        ("secret.md", {"utf8": "tea\n"}),
        ("b.bin", {"base64": "/w=="}),
        ("old.md", None),
    ]


def test_nothing_but_the_body_tells_what_a_request_says(worker: StandIn, repo: MemoryRepo) -> None:
    repo.commit({"secret-path": "secret-content"}, "secret-message")

    [taken] = worker.wait_taken(1)
    around = {key: value for key, value in taken.envelope.items() if key != "body"}
    assert "secret" not in str(around)


def test_the_client_listens_before_the_first_message_is_there(broker: Valkey, repo: MemoryRepo) -> None:
    listeners: list[int] = []

    def count(taken: object) -> str:
        with broker.client() as client:
            channel = taken.properties["reply_to"]  # type: ignore[attr-defined]
            listeners.append(client.pubsub_numsub(channel)[0][1])
        return "a" * 40

    with StandIn(broker, count):
        repo.get_head_sha().result(timeout_s=30)

    assert listeners == [1]


def test_calls_of_one_client_lie_in_their_queue_in_call_order(broker: Valkey, repo: MemoryRepo) -> None:
    jobs = [repo.commit({"a": str(number)}, "m") for number in range(200)]

    with StandIn(broker, lambda _: None) as worker:
        taken = worker.wait_taken(200)
    assert [one.id for one in taken] == [job.id for job in jobs]


def test_threads_that_share_a_client_lose_nothing_and_keep_their_own_order(
    worker: StandIn, repos: MemoryRepos
) -> None:
    def send(agent: str) -> None:
        for number in range(50):
            repos.repo(org_id="acme", agent_id=agent).commit({"n": str(number)}, "m")

    threads = [threading.Thread(target=send, args=(f"agent-{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    worker.wait_taken(200)
    for number in range(4):
        mine = [one.request for one in worker.taken if one.request["agent_id"] == f"agent-{number}"]
        assert [one["changes"][0]["content"]["utf8"] for one in mine] == [str(n) for n in range(50)]


def test_another_number_of_shards_than_the_workers_is_refused_by_name(
    broker: Valkey, repo: MemoryRepo
) -> None:
    broker.client().set("memrepo:shards", 8)

    with pytest.raises(InvalidRequestError, match=r"MEMREPO_SHARDS: is 64 .* use 8"):
        repo.get_head_sha()
    assert broker.client().keys("memrepo.0*") == []


def test_another_rule_for_names_than_the_workers_is_refused_by_name(broker: Valkey, repo: MemoryRepo) -> None:
    broker.client().set("memrepo:portable_names", "posix")

    with pytest.raises(InvalidRequestError, match=r"MEMREPO_PORTABLE_NAMES: is everywhere .* use posix"):
        repo.get_head_sha()
    assert broker.client().keys("memrepo.0*") == []


def test_refusals_leave_no_connection_behind(broker: Valkey, repo: MemoryRepo) -> None:
    broker.client().set("memrepo:shards", 8)
    with broker.client() as client:
        before = {one["id"] for one in client.client_list()}  # of which some may end meanwhile
        for _ in range(20):
            with pytest.raises(InvalidRequestError):
                repo.get_head_sha()

        assert len({one["id"] for one in client.client_list()} - before) < 10


def test_the_same_number_of_shards_is_fine(broker: Valkey, worker: StandIn, repo: MemoryRepo) -> None:
    broker.client().set("memrepo:shards", 64)

    assert repo.get_head_sha().result(timeout_s=30) == "a" * 40


def test_a_queue_that_is_too_deep_takes_no_more(broker: Valkey, settings: Settings) -> None:
    shallow = Settings(broker_url=broker.url, result_url=broker.url, shard_depth_max=3)
    with MemoryRepos(settings=shallow) as repos:
        repo = repos.repo(org_id="acme", agent_id="agent-1")
        for _ in range(3):
            repo.get_head_sha()

        with pytest.raises(MemoryRepoBusyError, match="shard_depth_max") as caught:
            repo.get_head_sha()

    assert caught.value.details == {"shard_depth": 3, "shard_depth_max": 3}
    assert broker.client().llen(route("acme", "agent-1")) == 3


def test_an_agent_that_sent_nothing_is_told_that_its_queue_is_shared(broker: Valkey) -> None:
    queue = route("acme", "hot")
    neighbour = next(name for name in map(str, range(10_000)) if route("acme", name) == queue)
    with MemoryRepos(settings=Settings(broker.url, broker.url, shard_depth_max=2)) as repos:
        for _ in range(2):
            repos.repo(org_id="acme", agent_id="hot").get_head_sha()

        with pytest.raises(MemoryRepoBusyError, match=f"{queue}, which this agent shares with others"):
            repos.repo(org_id="acme", agent_id=neighbour).get_head_sha()


def test_a_depth_of_nought_means_no_bound(broker: Valkey) -> None:
    with MemoryRepos(settings=Settings(broker.url, broker.url, shard_depth_max=0)) as repos:
        for _ in range(5):
            repos.repo(org_id="acme", agent_id="agent-1").get_head_sha()

    assert broker.client().llen(route("acme", "agent-1")) == 5


def test_each_call_has_a_task_id_of_its_own_whatever_request_id_its_caller_chose(
    worker: StandIn, repo: MemoryRepo
) -> None:
    jobs = [repo.commit({"a": "1"}, "m", request_id="my-own-request") for _ in range(2)]

    taken = worker.wait_taken(2)
    assert [one.id for one in taken] == [job.id for job in jobs]
    assert jobs[0].id != jobs[1].id
    assert all(uuid.UUID(job.id).version == 4 for job in jobs)  # a random one: nobody can compute it
    assert [one.request["request_id"] for one in taken] == ["my-own-request"] * 2
    assert [job.request_id for job in jobs] == ["my-own-request"] * 2


def test_a_refused_request_is_not_enqueued(broker: Valkey, repo: MemoryRepo) -> None:
    with pytest.raises(InvalidRequestError, match=r"changes\[0\].path"):
        repo.commit({"../x": "1"}, "m")
    with pytest.raises(InvalidRequestError, match="changes: must map paths"):
        repo.commit("not a mapping", "m")  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="paths: must be a sequence"):
        repo.get_files(paths="README.md")

    assert broker.client().keys("memrepo.*") == []


def test_closing_sends_what_waits(broker: Valkey, settings: Settings) -> None:
    repos = MemoryRepos(settings=settings)
    repos.repo(org_id="acme", agent_id="agent-1").get_head_sha()
    repos.close()

    assert broker.client().llen(route("acme", "agent-1")) == 1
    with pytest.raises(Exception, match="client is closed"):
        repos.repo(org_id="acme", agent_id="agent-1").get_head_sha()


@pytest.mark.parametrize("key", [QUEUE, unacked_key(QUEUE)])
def test_a_queue_that_holds_something_else_stops_its_own_agents_alone(broker: Valkey, key: str) -> None:
    agents = [f"agent-{number}" for number in range(1, 20)]
    stopped = [agent for agent in agents if route("acme", agent) == QUEUE]
    with broker.client() as client:
        client.set(key, "something else")

        async def send_all_together() -> list[str]:
            async with AsyncMemoryRepos(settings=Settings(broker.url, broker.url)) as repos:
                jobs = [repos.repo(org_id="acme", agent_id=agent).get_head_sha() for agent in agents]
                told = await asyncio.gather(*(job.enqueued() for job in jobs), return_exceptions=True)
            return [agent for agent, error in zip(agents, told, strict=True) if error is not None]

        assert asyncio.run(send_all_together()) == stopped
        waiting = {
            queue: client.llen(queue) for queue in map(partial(route, "acme"), agents) if queue != QUEUE
        }
    assert waiting == Counter(route("acme", agent) for agent in agents if agent not in stopped)


def test_a_first_worker_of_another_number_of_shards_is_told_to_who_was_connected_before(
    broker: Valkey, repo: MemoryRepo
) -> None:
    waiting = repo.get_head_sha()
    with broker.client() as client:
        client.set(SHARDS_KEY, 7)

    waiting.describe()  # asks who serves the queue, as a client does whose jobs wait
    with pytest.raises(InvalidRequestError, match=r"MEMREPO_SHARDS: is 64 here, .* use 7"):
        repo.get_head_sha()
    waiting.pending.look_at()
