"""``memrepo doctor`` beside planted faults: each is a line of its own, with its weight and what to do about it."""

from __future__ import annotations

import json
import re
import socketserver
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from importlib import metadata
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from typing_extensions import override

from memrepo.clock import steady_clock, system_clock
from memrepo.limits import MIB
from memrepo.settings import environment
from memrepo.wire.agreement import CellsRecord
from memrepo.wire.keys import CELLS_KEY, NAMES_KEY, SHARDS_KEY, STORE_KEY
from memrepo_worker.cli import full_check
from memrepo_worker.cli.checks import store as store_checks
from memrepo_worker.cli.doctor import doctor
from memrepo_worker.store.decorators.base import StoreDecorator
from memrepo_worker.store.identity import begin_identity
from memrepo_worker.store.interface import ABSENT, ALWAYS, ListedObject, RefusedError, Store, Version, When
from memrepo_worker.store.open import open_store
from memrepo_worker.store.versions import KeptVersion
from tests.support.http_answers import Answer, answering
from tests.support.ports import LOOPBACK, closed_port
from tests.support.proxy import proxy
from tests.support.valkey import Valkey, valkey

GIB = 1024 * MIB


@dataclass
class World:
    """What a doctor is sent to: all is well until a fault is planted. ``ends`` undoes it."""

    folder: Path
    broker: Valkey
    patch: pytest.MonkeyPatch
    ends: ExitStack
    env: dict[str, str] = field(default_factory=dict)

    def doctor(self, *options: str) -> Result:
        return CliRunner().invoke(doctor, options, env=self.env)

    def findings(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.doctor("--json").stdout)
        return found

    def config(self, name: str, value: str) -> None:
        """Set one of the broker's own options until the test ends."""
        with self.broker.client() as client:
            before = str(client.config_get(name)[name])
            client.config_set(name, value)
        self.ends.callback(self._reset, name, before)

    def _reset(self, name: str, value: str) -> None:
        with self.broker.client() as client:
            client.config_set(name, value)

    def recorded(self, key: str, value: str) -> None:
        with self.broker.client() as client:
            client.set(key, value)

    def machine(self, **parts: Any) -> None:
        self.patch.setattr(full_check, "MACHINE", replace(full_check.MACHINE, **parts))

    def store(self, wrap: Callable[[Store], Store]) -> None:
        """Have the store behave as another would; a folder refuses its owner nothing."""

        def opened(url: str, **options: Any) -> Store:
            return wrap(open_store(url, **options))

        self.patch.setattr(store_checks, "open_store", opened)

    def git(self, script: str) -> None:
        """Have another program be found as git, or none."""
        programs = self.folder / "bin"
        programs.mkdir()
        if script:
            (programs / "git").write_text(f"#!/bin/sh\n{script}\n")
            (programs / "git").chmod(0o755)
        self.env["PATH"] = str(programs)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with valkey(tmp_path_factory.mktemp("valkey")) as running:
        yield running


@pytest.fixture
def world(server: Valkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.chdir(tmp_path)
    with server.client() as client:
        client.flushall()
    begin_identity(open_store((tmp_path / "store").as_uri()), lambda: "0" * 32)
    env = {name: "" for name in environment() if name.startswith("MEMREPO_")}
    env |= {
        "PATH": environment()["PATH"],
        "MEMREPO_BROKER_URL": server.url,
        "MEMREPO_STORE_URL": (tmp_path / "store").as_uri(),
        "MEMREPO_CACHE_DIR": str(tmp_path / "cache"),
        "MEMREPO_FLOWER_PORT": str(closed_port()),
    }
    with ExitStack() as ends:
        world = World(tmp_path, server, monkeypatch, ends, env)
        world.machine(disk=lambda _: (100 * GIB, 50 * GIB, 50 * GIB))
        # How long a busy machine takes to answer says nothing of a fault.
        monkeypatch.setattr(full_check, "CLOCKS", replace(full_check.CLOCKS, steady=count(0, 0.001).__next__))
        yield world


def no_git(world: World) -> None:
    world.git("")


def an_old_git(world: World) -> None:
    world.git("echo git version 2.20.1")


def an_old_python(world: World) -> None:
    world.machine(python=(3, 10, 12))


def a_kombu_that_nobody_tried(world: World) -> None:
    world.machine(installed=lambda name: "5.9.0" if name == "kombu" else metadata.version(name))


def no_pygit2(world: World) -> None:
    def installed(name: str) -> str:
        if name == "pygit2":
            raise metadata.PackageNotFoundError(name)
        return metadata.version(name)

    world.machine(installed=installed)


def a_cache_that_is_a_file(world: World) -> None:
    (world.folder / "taken").write_text("x")
    world.env["MEMREPO_CACHE_DIR"] = str(world.folder / "taken")


def a_cache_that_others_may_read(world: World) -> None:
    (world.folder / "cache").mkdir()
    (world.folder / "cache").chmod(0o755)


def a_small_disk_that_nobody_uses(world: World) -> None:
    world.machine(disk=lambda _: (20 * MIB, MIB, 19 * MIB))


def a_disk_that_is_almost_full(world: World) -> None:
    world.machine(disk=lambda _: (100 * GIB, 98 * GIB, 2 * GIB))


def a_cache_larger_than_its_disk(world: World) -> None:
    world.env["MEMREPO_CACHE_BYTES_MAX"] = str(10**15)


def no_broker(world: World) -> None:
    world.env["MEMREPO_BROKER_URL"] = f"redis://{LOOPBACK}:{closed_port()}/0"


def a_wrong_password(world: World) -> None:
    with world.broker.client() as client:
        client.acl_setuser("worker", enabled=True, passwords=["+right"], categories=["+@all"], keys=["*"])
    world.env["MEMREPO_BROKER_URL"] = world.broker.url.replace("redis://", "redis://worker:wrong@")


def a_missing_right(world: World) -> None:
    with world.broker.client() as client:
        client.execute_command("ACL SETUSER partly on >right ~* &* +@all -hset")
    world.env["MEMREPO_BROKER_URL"] = world.broker.url.replace("redis://", "redis://partly:right@")


def keys_that_are_evicted(world: World) -> None:
    world.config("maxmemory-policy", "allkeys-lru")


def no_log(world: World) -> None:
    world.config("appendonly", "no")


def memory_that_is_nearly_full(world: World) -> None:
    with world.broker.client() as client:
        used = int(client.info("memory")["used_memory"])
    world.config("maxmemory", str(int(used * 1.06)))


def a_cluster(world: World) -> None:
    cluster = valkey(world.folder / "cluster", "everysec", "--cluster-enabled", "yes")
    world.env["MEMREPO_BROKER_URL"] = world.ends.enter_context(cluster).url


def a_server_too_old(world: World) -> None:
    world.env["MEMREPO_BROKER_URL"] = world.ends.enter_context(knows_no_command())


def a_clock_that_is_behind(world: World) -> None:
    clocks = replace(full_check.CLOCKS, wall=lambda: system_clock() + 600)
    world.patch.setattr(full_check, "CLOCKS", clocks)


def a_broker_far_away(world: World) -> None:
    world.patch.setattr(full_check, "CLOCKS", replace(full_check.CLOCKS, steady=steady_clock))
    far = world.ends.enter_context(proxy(world.broker.url, delay_s=0.05))
    world.env["MEMREPO_BROKER_URL"] = f"redis://{far.url.partition('://')[2]}"


def other_shards(world: World) -> None:
    world.recorded(SHARDS_KEY, "16")


def other_names(world: World) -> None:
    world.recorded(NAMES_KEY, "posix")


def other_cells(world: World) -> None:
    world.recorded(CELLS_KEY, str(CellsRecord.of("a", ("a", "b"))))


def another_store(world: World) -> None:
    world.recorded(STORE_KEY, f"{'1' * 32} s3://another")


def a_cell_that_is_away(world: World) -> None:
    own = world.env.pop("MEMREPO_BROKER_URL")
    world.env["MEMREPO_CELLS"] = f"a={own} b=redis://{LOOPBACK}:{closed_port()}/0"


def a_store_below_a_file(world: World) -> None:
    (world.folder / "file").touch()
    world.env["MEMREPO_STORE_URL"] = (world.folder / "file" / "store").as_uri()


def no_store(world: World) -> None:
    world.env["MEMREPO_STORE_URL"] = f"s3://bucket/prefix?endpoint_url=http://{LOOPBACK}:{closed_port()}"
    credentials(world)


def no_credentials(world: World) -> None:
    no_store(world)
    world.env |= {
        "AWS_ACCESS_KEY_ID": "",
        "AWS_SECRET_ACCESS_KEY": "",
        "AWS_CONFIG_FILE": str(world.folder / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(world.folder / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def no_bucket(world: World) -> None:
    answer = Answer.of_s3(404, "NoSuchBucket", "The specified bucket does not exist")
    port = world.ends.enter_context(answering(answer))
    world.env["MEMREPO_STORE_URL"] = f"s3://bucket/prefix?endpoint_url=http://{LOOPBACK}:{port}"
    credentials(world)


def credentials(world: World) -> None:
    world.env |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}


def a_store_without(*verbs: str) -> Callable[[World], None]:
    return lambda world: world.store(lambda store: Without(store, verbs))


def conditions_that_are_ignored(world: World) -> None:
    world.store(Unconditional)


def a_lifecycle_rule(world: World) -> None:
    world.store(Forgetful)


def versions_that_are_kept(world: World) -> None:
    world.store(Hoarding)


def a_flower_without_a_password(world: World) -> None:
    port = world.ends.enter_context(answering(Answer(200, b"OK")))
    world.env["MEMREPO_FLOWER_PORT"] = str(port)


def results_elsewhere_that_are_away(world: World) -> None:
    world.env["MEMREPO_RESULT_URL"] = f"redis://{LOOPBACK}:{closed_port()}/0"


def results_elsewhere_that_are_evicted(world: World) -> None:
    world.env["MEMREPO_RESULT_URL"] = world.broker.database(1)
    keys_that_are_evicted(world)


@dataclass(frozen=True)
class Planted:
    """Whose line tells a fault, how grave it is, what it says, and what to do; ``code`` is how the command ends."""

    plant: Callable[[World], None]
    check: str
    level: str
    says: str
    to_do: str
    code: int = 0


PLANTED = {
    "no git": Planted(no_git, "git", "failure", "git", "install git 2.39 or newer", 5),
    "an old git": Planted(an_old_git, "git", "failure", "2.20.1", "install git 2.39 or newer", 5),
    "an old Python": Planted(an_old_python, "python", "failure", "3.10.12 is too old", "3.11 or newer", 1),
    "a library of another version": Planted(
        a_kombu_that_nobody_tried, "packages", "failure", "kombu 5.9.0", "pip install 'kombu", 1
    ),
    "a library that is missing": Planted(
        no_pygit2, "packages", "failure", "pygit2 is missing", "pip install 'pygit2", 1
    ),
    "a cache folder that cannot be": Planted(
        a_cache_that_is_a_file, "cache", "failure", "cannot be written", "MEMREPO_CACHE_DIR", 5
    ),
    "a cache folder that others may read": Planted(
        a_cache_that_others_may_read, "cache", "warning", "mode 0755", "chmod 700"
    ),
    "a disk that is almost full": Planted(
        a_disk_that_is_almost_full, "cache", "warning", "2048 MiB of 102400", "make room"
    ),
    "a small disk that nobody uses": Planted(
        a_small_disk_that_nobody_uses,
        "cache",
        "warning",
        "its disk has little room, 19 MiB of 20 are left",
        "name a folder on another disk with MEMREPO_CACHE_DIR",
    ),
    "a cache larger than its disk": Planted(
        a_cache_larger_than_its_disk, "cache", "warning", "may grow to", "lower MEMREPO_CACHE_BYTES_MAX"
    ),
    "a broker that is away": Planted(
        no_broker, "broker", "failure", "Connection refused", "MEMREPO_BROKER_URL", 5
    ),
    "a wrong password": Planted(a_wrong_password, "broker", "failure", "password", "password", 5),
    "a missing right": Planted(a_missing_right, "broker", "failure", "HSET", "ACL SETUSER partly", 5),
    "keys that are evicted": Planted(
        keys_that_are_evicted, "broker", "warning", "may drop what is queued", "maxmemory-policy noeviction"
    ),
    "no append-only file": Planted(no_log, "broker", "warning", "appendonly is off", "set `appendonly yes`"),
    "memory that is nearly full": Planted(
        memory_that_is_nearly_full, "broker", "warning", "of its memory", "raise maxmemory"
    ),
    "a cluster": Planted(a_cluster, "broker", "failure", "luster", "use", 5),
    "a server too old": Planted(a_server_too_old, "broker", "failure", "old", "7", 5),
    "a clock that is behind": Planted(a_clock_that_is_behind, "broker", "warning", "s behind", "NTP"),
    "a broker far away": Planted(
        a_broker_far_away, "broker", "warning", "ms to answer", "run workers near it"
    ),
    "another number of shards": Planted(
        other_shards, "broker", "failure", "MEMREPO_SHARDS: is 64 here", "delete the key", 2
    ),
    "another rule for names": Planted(
        other_names, "broker", "failure", "MEMREPO_PORTABLE_NAMES", "delete the key", 2
    ),
    "another list of cells": Planted(
        other_cells, "broker", "failure", "MEMREPO_CELLS: is not set here", "memrepo cells --accept", 2
    ),
    "a cell that is away": Planted(
        a_cell_that_is_away, "broker", "failure", "cell b: ", "MEMREPO_CELLS names it", 5
    ),
    "the store of another broker": Planted(
        another_store, "store", "failure", "MEMREPO_STORE_URL", "memrepo store accept", 2
    ),
    "a store below a file": Planted(
        a_store_below_a_file, "store", "failure", "ot a directory", "MEMREPO_STORE_URL names it.", 5
    ),
    "a store that is away": Planted(no_store, "store", "failure", "ECONNREFUSED", "endpoint_url", 5),
    "a store without credentials": Planted(
        no_credentials, "store", "failure", "Unable to locate credentials", "set AWS_ACCESS_KEY_ID", 5
    ),
    "a bucket that is missing": Planted(no_bucket, "store", "failure", "NoSuchBucket", "bucket", 5),
    "no right to write": Planted(
        a_store_without("put"), "store", "failure", "the right to create", "is missing", 5
    ),
    "no right to delete": Planted(
        a_store_without("delete"), "store", "failure", "the right to delete", "is missing", 5
    ),
    "no right to list": Planted(
        a_store_without("list"), "store", "failure", "the right to list", "is missing", 5
    ),
    "conditions that are ignored": Planted(
        conditions_that_are_ignored, "store", "failure", "ignores the condition", "is not safe", 1
    ),
    "a lifecycle rule": Planted(
        a_lifecycle_rule, "store", "failure", "after-a-month", "lifecycle rules of the bucket", 1
    ),
    "versions that are kept": Planted(
        versions_that_are_kept, "store", "warning", "keeps versions", "memrepo store purge"
    ),
    "Flower without a password": Planted(
        a_flower_without_a_password, "flower", "warning", "asks nobody", "MEMREPO_FLOWER_BASIC_AUTH"
    ),
    "results elsewhere, away": Planted(
        results_elsewhere_that_are_away, "results", "failure", "Connection refused", "MEMREPO_RESULT_URL", 5
    ),
    "results elsewhere, evicted": Planted(
        results_elsewhere_that_are_evicted, "results", "warning", "may drop", "maxmemory-policy noeviction"
    ),
}


def test_where_all_is_well_nothing_is_told_to_be_wrong(world: World) -> None:
    ended = world.doctor("--json")

    assert ended.exit_code == 0, ended.output
    assert [one for one in world.findings() if one["level"] != "ok"] == []


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_named_with_what_to_do(world: World, name: str) -> None:
    planted = PLANTED[name]
    planted.plant(world)

    ended = world.doctor("--json")
    findings = json.loads(ended.stdout)
    told = [one for one in findings if (one["check"], one["level"]) == (planted.check, planted.level)]

    assert [one for one in told if planted.says in one["found"] and planted.to_do in one["found"]], findings
    assert ended.exit_code == planted.code
    assert not [one for one in findings if re.search(r"[^.] MEMREPO_\w+_URL names it", one["found"])]
    assert all(one["ok"] == (one["level"] != "failure") for one in findings)
    assert_words_say_the_same(world.doctor(), findings)


def assert_words_say_the_same(ended: Result, findings: Iterable[Mapping[str, Any]]) -> None:
    """Compare what is printed for people: a line for each, its weight in front."""
    marks = {"ok": "ok  ", "warning": "warn", "failure": "FAIL"}
    lines = ended.stdout.splitlines()
    expected = [f"{marks[one['level']]}  {one['check']}" for one in findings]
    assert [line[: len(begin)] for line, begin in zip(lines, expected, strict=True)] == expected


class Without(StoreDecorator):
    """A store whose user lacks rights."""

    def __init__(self, store: Store, verbs: Iterable[str]) -> None:
        super().__init__(store)
        self._verbs = frozenset(verbs)

    def _ask(self, verb: str) -> None:
        if verb in self._verbs:
            raise RefusedError("AccessDenied")

    @override
    def put(self, key: str, data: bytes, when: When) -> Version:
        self._ask("put")
        return super().put(key, data, when)

    @override
    def delete(self, keys: Iterable[str]) -> None:
        self._ask("delete")
        super().delete(keys)

    @override
    def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        self._ask("list")
        return super().list(prefix, start_after)


class Unconditional(StoreDecorator):
    """A store that answers as if it honoured conditions."""

    @override
    def put(self, key: str, data: bytes, when: When) -> Version:
        return super().put(key, data, ALWAYS if when is ABSENT else when)


class Forgetful(StoreDecorator):
    """A store whose bucket removes what is old."""

    def expiring_rules(self) -> tuple[str, ...]:
        return ("after-a-month",)


class Hoarding(StoreDecorator):
    """A store whose bucket has versioning."""

    def keeps_versions(self) -> bool:
        return True

    def versions(self, prefix: str) -> Iterator[KeptVersion]:
        yield from ()

    def delete_versions(self, versions: Iterable[KeptVersion]) -> None:
        pass


@contextmanager
def knows_no_command() -> Iterator[str]:
    """Give the address of a server that refuses each command as one from before it does."""

    class Refusing(socketserver.StreamRequestHandler):
        @override
        def handle(self) -> None:
            while line := self.rfile.readline():
                for _ in range(2 * int(line[1:])):  # a length and a text for each part of a command
                    self.rfile.readline()
                self.wfile.write(b"-ERR unknown command\r\n")

    with socketserver.ThreadingTCPServer((LOOPBACK, 0), Refusing) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"redis://{LOOPBACK}:{server.server_address[1]}/0"
        server.shutdown()
