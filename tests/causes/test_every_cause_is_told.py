"""Causes of failure, planted one by one: each is told in its own words to everybody whom it concerns.

The sync client, asyncio, the command line, ``memrepo worker`` and what an operator looks with run in this process, so
that what takes time is not their start.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import click
import kombu.transport.redis
import pytest
import redis
from click.testing import CliRunner

from memrepo import AsyncMemoryRepos, BrokerUnavailableError, MemoryRepoError, MemoryRepos, Settings
from memrepo.cli.main import main
from memrepo.settings import environment
from memrepo_worker.store.open import open_store
from tests.causes.conftest import PASSWORD, Servers
from tests.support.http_answers import Answer, answering
from tests.support.ports import LOOPBACK, closed_port

AT_ONCE_S = 5.0
TOO_SHORT = ("no answer yet, to a connection", "does not answer in time", "no connection was made in time")
"""What is said where a busy machine had tried nothing, or had not heard the answer, when the time was over."""
Env = dict[str, str]
Told = tuple[str, float]
"""What was said, and how long it took."""
LONG_S = 10.0


@dataclass(frozen=True)
class Planted:
    """What a cause is planted with."""

    servers: Servers
    folder: Path
    monkeypatch: pytest.MonkeyPatch

    def at(self, cause: str, **more: str) -> Env:
        """Return an environment whose broker has that wrong about it."""
        return {"MEMREPO_BROKER_URL": self.servers.url(cause), **more}

    def s3(self, status: int, code: str, message: str) -> Env:
        """Return an environment whose store answers every request like this."""
        port = self.servers.stack.enter_context(answering(Answer.of_s3(status, code, message)))
        return self.store(f"s3://memories/prefix?endpoint_url=http://{LOOPBACK}:{port}&addressing_style=path")

    def store(self, url: str) -> Env:
        """Return an environment with that store; its credentials are of nobody."""
        keys = {
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": PASSWORD,
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        return self.at("healthy", MEMREPO_STORE_URL=url, **keys)

    def file(self) -> Path:
        """Return a file, to stand where a folder should be."""
        path = self.folder / "file"
        path.touch()
        return path

    def old_git(self) -> Env:
        """Return an environment with a git that is too old."""
        git = self.folder / "bin" / "git"
        git.parent.mkdir(exist_ok=True)
        git.write_text("#!/bin/sh\necho git version 2.38.5\n")
        git.chmod(0o755)
        return self.at("healthy", PATH=str(git.parent))

    def other_shards(self) -> Env:
        """Return an environment whose broker's workers use five shards."""
        url = self.servers.url("healthy").removesuffix("/0") + "/5"
        with redis.Redis.from_url(url) as client:
            client.set("memrepo:shards", 5)
        return {"MEMREPO_BROKER_URL": url}

    def without_redis_py(self) -> Env:
        """Have kombu find no redis-py, as where it is not installed."""
        self.monkeypatch.setattr(kombu.transport.redis, "redis", None)
        return self.at("healthy")

    def with_an_old_redis_py(self) -> Env:
        """Have kombu find one that is too old for it."""
        self.monkeypatch.setattr(redis, "VERSION", (3, 0, 0))
        return self.at("healthy")


CLIENTS = ("sync", "asyncio", "command line")
SERVING = ("worker", "doctor")
ALL = (*CLIENTS, *SERVING)
LOOKING = ("shards", "flower")
"""What only looks at a broker; it meets what anybody meets who connects."""
EVERYBODY = (*ALL, *LOOKING)


@dataclass(frozen=True)
class Cause:
    """One cause: how it is planted, the words that must be in what is said, and whom it concerns."""

    name: str
    plant: Callable[[Planted], Env]
    words: str
    concerns: tuple[str, ...] = ALL
    waiting_may_mend: bool = False


def of_broker(name: str, words: str, *, to: tuple[str, ...] = ALL, waiting_may_mend: bool = False) -> Cause:
    return Cause(name, lambda planted: planted.at(name), words, to, waiting_may_mend)


def of_url(name: str, url: str, words: str) -> Cause:
    return Cause(name, lambda _: {"MEMREPO_BROKER_URL": url}, words, EVERYBODY)


CAUSES = [
    of_broker("wrong_password", "WRONGPASS invalid username-password pair or user is disabled", to=EVERYBODY),
    of_broker("no_password", "NOAUTH ", to=EVERYBODY),
    of_broker("no_right_to_a_command", "EVAL, EVALSHA (to give it: ACL SETUSER reader +eval +evalsha)"),
    of_broker("no_right_to_keys", "(to give it: ACL SETUSER stranger +"),
    Cause(
        "no right to be told of changes",
        lambda planted: planted.at("no_right_to_tracking"),
        "CLIENT TRACKING (to give it: ACL SETUSER untold +client|tracking)",
        SERVING,
    ),
    of_broker("database_out_of_range", "DB index is out of range", to=EVERYBODY),
    of_broker("tls_to_a_plain_port", "the port answers without TLS", to=EVERYBODY),
    of_broker("plain_to_a_tls_port", "it speaks TLS: the URL must begin with rediss://", to=EVERYBODY),
    of_broker("unknown_certificate", "certificate verify failed: self-signed certificate", to=EVERYBODY),
    of_broker("certificate_of_another_host", "certificate is not valid for '127.0.0.1'"),
    of_broker("not_redis", "what listens there is not Redis: Protocol Error: b'HTTP/1.1 400", to=EVERYBODY),
    of_broker("cluster", "Redis Cluster is not supported", to=EVERYBODY),
    of_broker("sentinel", "it is a Sentinel: use sentinel://host:port/name, or the address of", to=EVERYBODY),
    of_broker("another_type", "WRONGTYPE "),
    of_broker("refused", "Connection refused", waiting_may_mend=True),
    of_broker("unknown_host", "there is no such host", waiting_may_mend=True),
    of_broker("no_socket", "there is no such socket: No such file or directory", waiting_may_mend=True),
    of_broker("closes_at_once", "the connection was lost", waiting_may_mend=True),
    of_broker("never_answers", "it accepted the connection, but does not answer in time", waiting_may_mend=True),
    of_broker("replica", "it is a replica, or was made one: ", waiting_may_mend=True),
    Cause(
        "full",
        lambda planted: planted.at("full"),
        "OOM command not allowed when used memory > 'maxmemory'",
        tuple(way for way in ALL if way != "doctor"),  # which warns: a worker can serve there, and make room
        waiting_may_mend=True,
    ),
    of_broker("busy", "BUSY Valkey is busy running a script", waiting_may_mend=True),
    of_broker("cannot_save", "MISCONF ", waiting_may_mend=True),
    of_broker("too_many_clients", "max number of clients reached", waiting_may_mend=True),
    of_url("an address without a scheme", f"u:{PASSWORD}@h:6379/0", "must begin with redis://"),
    of_url("a database that is no number", f"redis://:{PASSWORD}@h/abc", "must name its database by a number"),
    of_url("an option that is not known", f"redis://:{PASSWORD}@h?x=1", "options that are not known: 'x'"),
    of_url("a port that is no number", f"redis://:{PASSWORD}@h:port/0", "has no port from 1 to 65535"),
    Cause(
        "a number that is none",
        lambda planted: planted.at("healthy", MEMREPO_SHARDS="many"),
        "MEMREPO_SHARDS: 'many' is not a number",
    ),
    Cause("another number of shards", Planted.other_shards, "MEMREPO_SHARDS: is 64 here"),
    Cause(
        "a result store with another password",
        lambda planted: planted.at("healthy", MEMREPO_RESULT_URL=planted.servers.url("wrong_password")),
        "The result store at redis://reader:***@",
    ),
    Cause("a missing library", Planted.without_redis_py, "Missing redis library", CLIENTS),
    Cause("an unfit library", Planted.with_an_old_redis_py, "Redis transport requires redis-py versions", CLIENTS),
    Cause("no git", lambda planted: planted.at("healthy", PATH=str(planted.folder)), "git cannot be started", SERVING),
    Cause("an old git", Planted.old_git, "git 2.39 or newer is needed, this is: git version 2.38.5", SERVING),
    Cause(
        "a cache folder that cannot be written",
        lambda planted: planted.at("healthy", MEMREPO_CACHE_DIR=str(planted.file() / "cache")),
        "cannot be written: Not a directory",
        SERVING,
    ),
    Cause("no store", lambda planted: planted.at("healthy", MEMREPO_STORE_URL="ftp://h"), "no store at 'ftp'", SERVING),
    *(
        Cause(
            f"a password in {url.replace(PASSWORD, '***')}",
            lambda planted, url=url: planted.store(url),  # type: ignore[misc] # of this turn of the loop
            "no user or password in this URL",
            SERVING,
        )
        for scheme in ("s3", "gs")
        for url in (f"{scheme}://u:{PASSWORD}@b/x", f"{scheme}://b/x?endpoint_url=http:/u:{PASSWORD}@h")
    ),
    Cause(
        "a store folder that cannot be written",
        lambda planted: planted.store((planted.file() / "store").as_uri()),
        "not a directory (ENOTDIR)",
        SERVING,
    ),
    Cause(
        "a store that forbids",
        lambda planted: planted.s3(403, "AccessDenied", "Access Denied"),
        "AccessDenied (403): Access Denied",
        SERVING,
    ),
    Cause(
        "a bucket that is not there",
        lambda planted: planted.s3(404, "NoSuchBucket", "The bucket does not exist"),
        "NoSuchBucket",
        SERVING,
    ),
    Cause(
        "a store that is away",
        lambda planted: planted.store(f"s3://memories?endpoint_url=http://{LOOPBACK}:{closed_port()}&addressing_style=path"),
        "refused",
        SERVING,
        waiting_may_mend=True,
    ),
]  # fmt: skip


def by_sync(env: Env) -> Told:
    began = time.monotonic()
    with pytest.raises(MemoryRepoError) as caught, MemoryRepos(settings=Settings.from_env(env)) as repos:
        repos.repo(org_id="acme", agent_id="agent-1").commit({"a.md": "x"}, "m")
    took_s = time.monotonic() - began
    if isinstance(caught.value, BrokerUnavailableError):
        assert caught.value.__cause__ is not None
    return str(caught.value), took_s


def by_asyncio(env: Env) -> Told:
    async def commit() -> None:
        async with AsyncMemoryRepos(settings=Settings.from_env(env)) as repos:
            await repos.repo(org_id="acme", agent_id="agent-1").commit({"a.md": "x"}, "m")

    began = time.monotonic()
    with pytest.raises(MemoryRepoError) as caught:
        asyncio.run(commit())
    return str(caught.value), time.monotonic() - began


def by_command(env: Env, *arguments: str) -> Told:
    runner = CliRunner(env={**dict.fromkeys(environment_of_ours()), **env})
    began = time.monotonic()
    ended = runner.invoke(main, arguments, catch_exceptions=True)
    took_s = time.monotonic() - began
    assert isinstance(ended.exception, SystemExit), ended.exception  # no traceback
    assert ended.exit_code in (1, 2, 5)
    return ended.output, took_s


def environment_of_ours() -> list[str]:
    return [name for name in environment() if name.startswith("MEMREPO_")]


def by_command_line(env: Env) -> Told:
    said, took_s = by_command(env, "commit", "acme", "agent-1", "-m", "m", "--text", "a.md", "x")
    assert said.count("\n") == 1
    return said, took_s


def by_worker(env: Env) -> Told:
    said, took_s = by_command(env, "worker")
    assert said.count("\n") == 1
    return said, took_s


def by_doctor(env: Env) -> Told:
    return by_command(env, "doctor")


def by_shards(env: Env) -> Told:
    return by_command(env, "shards")


def by_flower(env: Env) -> Told:
    return by_command(env, "flower", "--port", "0")


WAYS: Mapping[str, Callable[[Env], Told]] = {
    "sync": by_sync,
    "asyncio": by_asyncio,
    "command line": by_command_line,
    "worker": by_worker,
    "doctor": by_doctor,
    "shards": by_shards,
    "flower": by_flower,
}


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the worker from serving and from changing the log of the tests, and look shortly where nobody answers."""

    def served(*_: object, **__: object) -> None:
        raise click.ClickException("nothing was wrong: it would serve")

    monkeypatch.setattr("memrepo_worker.cli.worker.configure", lambda _: None)
    monkeypatch.setattr("memrepo_worker.cli.worker.run_worker", served)
    monkeypatch.setattr("memrepo_worker.local.flower._run", served)
    monkeypatch.setattr("memrepo_worker.queues.reach.REACH_TIMEOUT_S", 0.2)


@pytest.fixture(scope="module", autouse=True)
def everything_is_imported() -> None:
    """Load what is loaded late, once: it is a part of a process's start."""
    with suppress(MemoryRepoError, AssertionError):  # how it ends is nothing to this
        by_sync(
            {
                "MEMREPO_BROKER_URL": f"redis://{LOOPBACK}:{closed_port()}/0",
                "MEMREPO_ENQUEUE_TIMEOUT_S": "0.1",
            }
        )
    for command in ("worker", "shards", "flower"):
        CliRunner().invoke(main, [command, "--help"])
    open_store(f"s3://memories?endpoint_url=http://{LOOPBACK}:{closed_port()}")


@pytest.mark.parametrize(
    ("cause", "way"),
    [
        pytest.param(cause, way, id=f"{cause.name.replace(' ', '_')}-{way.replace(' ', '_')}")
        for cause in CAUSES
        for way in cause.concerns
    ],
)
def test_it_is_told_in_its_own_words(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cause: Cause, way: str
) -> None:
    env = {
        "MEMREPO_STORE_URL": (tmp_path / "store").as_uri(),
        "MEMREPO_CACHE_DIR": str(tmp_path / "cache"),
        "MEMREPO_CONNECT_TIMEOUT_S": "0.2",
        "MEMREPO_ENQUEUE_TIMEOUT_S": "0.5" if cause.waiting_may_mend else "30",
        **cause.plant(Planted(servers, tmp_path, monkeypatch)),
    }
    monkeypatch.chdir(tmp_path)

    said, took_s = WAYS[way](env)
    if cause.words not in said and any(words in said for words in TOO_SHORT):
        monkeypatch.setattr("memrepo_worker.queues.reach.REACH_TIMEOUT_S", LONG_S)
        monkeypatch.setattr("memrepo.redis.client.PROBE_TIMEOUT_S", LONG_S / 5)
        said, _ = WAYS[way](
            {**env, "MEMREPO_ENQUEUE_TIMEOUT_S": f"{3 * LONG_S}", "MEMREPO_CONNECT_TIMEOUT_S": f"{LONG_S}"}
        )

    assert cause.words in said
    assert PASSWORD not in said
    assert "Traceback" not in said
    if not cause.waiting_may_mend:
        attempts = iter(range(2))  # a machine that is busy at that moment decides nothing
        while took_s >= AT_ONCE_S and next(attempts, None) is not None:
            _, took_s = WAYS[way](env)
        assert took_s < AT_ONCE_S


def test_there_are_more_than_twenty_causes_and_each_concerns_somebody() -> None:
    assert len({cause.name for cause in CAUSES}) == len(CAUSES) > 20
    assert all(set(cause.concerns) <= set(WAYS) and cause.concerns for cause in CAUSES)
    assert not any(re.search(r"[\\^$]", cause.words) for cause in CAUSES)  # words, no patterns
