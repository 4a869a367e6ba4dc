"""The table of rights: a user with no others can serve and be served, and each one that is missing is named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis

from memrepo import MemoryRepos, Settings
from memrepo.redis.errors import MissingRightsError
from memrepo.redis.rights import Right, require_rights, rights, rules
from memrepo.wire.rights import (
    DELIVERY,
    PRODUCER_ON_BROKER,
    PRODUCER_ON_RESULTS,
    WORKER_ON_RESULTS,
    worker_on_broker,
)
from memrepo_worker.settings import WorkerSettings
from tests.support import acl
from tests.support.acl import documented_rights
from tests.support.ports import LOOPBACK
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import wait_for
from tests.support.workers import fleet

PASSWORD = "s3cr3t"
TIMEOUT_S = 20.0
PRODUCER = (*PRODUCER_ON_BROKER, *PRODUCER_ON_RESULTS)
WORKER = (*worker_on_broker(0), *WORKER_ON_RESULTS)
ALL = sorted({*PRODUCER, *WORKER, *DELIVERY}, key=str)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with valkey(tmp_path_factory.mktemp("rights"), "no") as running:
        yield running


@pytest.fixture
def admin(server: Valkey) -> Iterator[redis.Redis]:
    with server.client() as client:
        yield client


def as_user(server: Valkey, name: str) -> str:
    return f"redis://{name}:{PASSWORD}@{LOOPBACK}:{server.port}/0"


@pytest.mark.parametrize("right", ALL, ids=str)
def test_a_call_has_all_arguments_and_no_key_but_its_own(admin: redis.Redis, right: Right) -> None:
    command, *arguments = right.call.split()
    arity = int(admin.execute_command("COMMAND", "INFO", command)[command]["arity"])

    assert 1 + len(arguments) == arity or (arity < 0 and 1 + len(arguments) >= -arity)
    if right.place.startswith("~"):
        assert admin.execute_command("COMMAND GETKEYS", command, *arguments) == arguments[:1]


def test_users_who_have_these_rights_alone_serve_and_are_served(
    server: Valkey, admin: redis.Redis, tmp_path: Path
) -> None:
    limits = "reset on resetkeys resetchannels -@all +auth +select"
    for name, needed in (("only-producer", PRODUCER), ("only-worker", WORKER)):
        rule = f"{limits} >{PASSWORD} {rules(needed)}"
        admin.execute_command("ACL", "SETUSER", name, *rule.split())
    admin.execute_command("ACL", "LOG", "RESET")
    url, workers_url = as_user(server, "only-producer"), as_user(server, "only-worker")
    settings = WorkerSettings(broker_url=workers_url, result_url=workers_url, shards=4, lease_s=2)
    with ExitStack() as stack:
        service = "tests.support.noop_service:noop_service"
        workers = stack.enter_context(fleet(tmp_path / "workers", settings, service))
        worker = workers.start()
        repos = stack.enter_context(MemoryRepos(settings=Settings(url, url, shards=4)))
        repo = repos.repo(org_id="acme", agent_id="agent-1")
        for content in ("small", "large" * 50_000):
            repo.commit({"a.md": content}, "m").result(timeout_s=TIMEOUT_S)
        repo.commit({"a.md": "x"}, "m").cancel()
        worker.terminate()
        worker.process.wait()
        wait_for(lambda: "stopped: 4 shards" in worker.output, "the worker to hand over")

    assert denied(admin) == []


@pytest.mark.parametrize("right", [one for one in WORKER if one.command not in ("eval", "evalsha")], ids=str)
def test_a_right_that_a_worker_lacks_is_named_with_the_rule_that_gives_it(
    server: Valkey, admin: redis.Redis, right: Right
) -> None:
    others = [one for one in WORKER if one != right and one.command != right.command]
    rule = f"reset on >{PASSWORD} -@all +auth +select {rules(others)}"
    admin.execute_command("ACL", "SETUSER", "lacking", *rule.split())
    with redis.Redis(port=server.port, username="lacking", password=PASSWORD) as client:
        with pytest.raises(MissingRightsError) as caught:
            require_rights(client, WORKER, "lacking")
        assert str(right) in str(caught.value)
        given = str(caught.value).rpartition("ACL SETUSER lacking ")[2].removesuffix(")")
        admin.execute_command("ACL", "SETUSER", "lacking", *given.split())

        require_rights(client, WORKER, "lacking")


def denied(admin: redis.Redis) -> list[tuple[str, str]]:
    """Return what these users have tried in vain."""
    entries = [(str(entry["username"]), str(entry["object"])) for entry in admin.acl_log()]
    return [entry for entry in entries if entry[0].startswith("only-")]


HANDSHAKE = {*rights("", "auth hello select")}
"""What says who connects."""

IN_ALL = {*rights("", "eval evalsha")}

OF_A_PRODUCERS_SCRIPTS = {
    *rights("~memrepo.*", "eval evalsha"),
    *rights("~memrepo:unacked:*", "eval evalsha"),
    *rights("~memrepo:depth:*", "eval"),
    *rights("~memrepo:body:*", "eval evalsha"),
    *rights("~memrepo:bodies:*", "eval evalsha"),
    *rights("~celery-task-meta-*", "eval evalsha"),
}
"""A script is called with the keys that it uses: whoever may use these may call it with them."""

OF_A_WORKERS_SCRIPTS = {
    *rights("~memrepo.*", "eval evalsha"),
    *rights("~memrepo:*", "eval evalsha"),
    *rights("~celery-task-meta-*", "eval evalsha"),
    *rights("~_kombu.binding*", "evalsha"),  # kombu's own, which it loads
}

OF_CELERYS_TOOLS = {
    *rights("~*.celery.pidbox", "brpop"),
    *rights("&/0.celery.pidbox", "publish"),
    *rights("~celeryev.*", "llen del"),
    *rights("&/0.celeryev/*", "psubscribe punsubscribe"),
    *rights("~unacked_index", "zrange"),
    *rights("~unacked_mutex", "set get del evalsha"),
}
"""What Flower, ``celery inspect`` and ``celery control`` need besides: asking, hearing answers and events, and kombu's
look for messages of its own that nobody has acknowledged."""


def test_the_documented_producer_has_these_rights_and_no_others() -> None:
    heard = Right("unsubscribe", "&memrepo.replies.*")  # from what is watched no more

    assert documented_rights(acl.PRODUCER) == {*PRODUCER, *HANDSHAKE, *OF_A_PRODUCERS_SCRIPTS, heard} - IN_ALL


def test_the_documented_worker_has_these_rights_and_those_of_celerys_tools_and_no_others() -> None:
    given = documented_rights(acl.WORKER)

    assert given == {*WORKER, *HANDSHAKE, *OF_A_WORKERS_SCRIPTS, *OF_CELERYS_TOOLS} - IN_ALL
