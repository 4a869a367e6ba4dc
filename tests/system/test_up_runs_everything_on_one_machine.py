from __future__ import annotations

import base64
import json
import re
import signal
import socket
import stat
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import redis

from memrepo import MemoryRepos, Settings
from memrepo.redis.address import parse_redis_url
from memrepo.routing import SHARDS_DEFAULT
from memrepo.settings import environment
from memrepo_worker.local import system
from memrepo_worker.local.broker import EmbeddedBroker
from memrepo_worker.local.ports import PortWish
from memrepo_worker.local.system import SystemPlan, SystemStartError, running_system
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes
from tests.commands.table import TABLE
from tests.support.commands import Up, memrepo, up, up_in_words
from tests.support.ports import closed_port
from tests.support.valkey import valkey
from tests.support.waiting import wait_for

SHARDS = 8
"""Of the one that many tests share; it is not the default, so whoever asks it must have learnt it from there."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One for all tests that do it no harm, in a folder whose name is a trial for everything that quotes it."""
    folder = tmp_path_factory.mktemp("up") / 'with "quotes", \\n and ünïcode'
    folder.mkdir()
    # What is set in the first terminal alone.
    with up(
        folder, env={"MEMREPO_SHARDS": str(SHARDS), "MEMREPO_FLOWER_BASIC_AUTH": "watcher:secret"}
    ) as system:
        yield system


@pytest.fixture(scope="module")
def told_in_words(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """Where one runs while others have the usual ports, and what it says."""
    folder = tmp_path_factory.mktemp("up-in-words")
    with ExitStack() as stack:
        for port in (6379, 5555):
            with suppress(OSError):  # somebody else has it: just as well
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
        yield folder, stack.enter_context(up_in_words(folder))


def client(running: Up, shards: int) -> MemoryRepos:
    return MemoryRepos(settings=Settings(running.broker_url, running.broker_url, shards=shards))


def remember(running: Up, text: str, shards: int = SHARDS_DEFAULT) -> str:
    """Commit through the running system and return the commit's sha."""
    with client(running, shards) as repos:
        memory = repos.repo(org_id="acme", agent_id="agent-42")
        return (
            memory.commit({"human.md": text}, "Learn", create_repo_if_missing=True).result(timeout_s=20).sha
        )


def head(running: Up, shards: int = SHARDS_DEFAULT) -> str:
    with client(running, shards) as repos:
        return repos.repo(org_id="acme", agent_id="agent-42").get_head_sha().result(timeout_s=20)


def assert_broker_ends_last(running: Up) -> None:
    """Watch the system end: a worker hands over through the broker, so the broker must outlive it."""

    def all_gone() -> bool:
        broker_runs = running.runs("broker")
        assert broker_runs or not running.runs("worker")
        return not broker_runs

    wait_for(all_gone, "the broker to end", timeout_s=40)


def status(url: str, auth: str = "", *, post: bool = False) -> int:
    headers = {"Authorization": "Basic " + base64.b64encode(auth.encode()).decode()} if auth else {}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, b"" if post else None, headers), timeout=10
        ) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_it_serves_and_when_asked_to_stop_leaves_nothing_running(tmp_path: Path) -> None:
    with up(tmp_path) as running:
        assert set(running.told) == set((TABLE["up"].keys or "").split())
        assert set(running.told["pids"]) == {"guard", "broker", "worker", "flower"}
        sha = remember(running, "likes tea\n")
        assert head(running) == sha

        running.process.terminate()

        assert_broker_ends_last(running)
        assert running.process.wait(40) == 0
        assert running.left_running() == []


def test_what_was_queued_while_the_worker_was_away_is_done_the_next_time(tmp_path: Path) -> None:
    with up(tmp_path) as first:
        remember(first, "likes tea\n")
        first.child("worker").suspend()
        with MemoryRepos(broker_url=first.broker_url) as repos:
            job = repos.repo(org_id="acme", agent_id="agent-42").commit(
                {"human.md": "likes coffee\n"}, "Learn"
            )
        for _ in range(2):  # the second signal does not wait for the worker, which does not hear
            first.process.send_signal(signal.SIGINT)
            wait_for(lambda: "stopping" in first.stderr.read_text(), "the stop to begin")
        assert first.process.wait(40) == 0
        assert first.left_running() == []

    with up(tmp_path) as second, MemoryRepos(broker_url=second.broker_url) as repos:
        assert repos.job(job.id).result(timeout_s=20).sha == head(second)


def test_flower_asks_for_the_password_and_changes_nothing(running: Up) -> None:
    url = running.told["flower_url"]

    assert status(f"{url}/workers") == 401
    assert status(f"{url}/workers", "watcher:wrong") == 401
    assert status(f"{url}/workers", "watcher:secret") == 200
    assert status(f"{url}/api/worker/shutdown/any", "watcher:secret", post=True) >= 400
    assert status(f"{url}/api/task/send-task/memrepo.commit", "watcher:secret", post=True) >= 400


def test_a_second_one_on_the_same_data_is_refused_in_one_line(running: Up) -> None:
    second = memrepo("up", "--port", "0", folder=running.folder)

    assert second.code == 4
    assert second.stderr == f"Error: {running.folder}/memrepo-data is in use by another `memrepo up`\n"
    assert remember(running, "still here\n", SHARDS) == head(running, SHARDS)


@pytest.mark.parametrize("name", ["broker", "worker", pytest.param("flower", marks=pytest.mark.long)])
def test_a_part_that_dies_takes_the_rest_along_and_is_named(tmp_path: Path, name: str) -> None:
    with up(tmp_path) as running:
        running.child(name).kill()

        assert running.process.wait(40) == 1
        assert running.left_running() == []
        told = json.loads(running.stderr.read_text())["error"]
        assert told["message"] == f"the {name} was killed by SIGKILL. Its log is {running.log(name)}"


def test_when_it_is_killed_itself_its_parts_end_too_and_the_data_can_be_used_again(tmp_path: Path) -> None:
    with up(tmp_path) as first:
        sha = remember(first, "likes tea\n")
        first.process.kill()
        assert_broker_ends_last(first)

        # It waits until the parts of the first have ended. What that has printed may be set in this shell.
        with up(tmp_path, env=first.told["env"]) as second:
            assert first.left_running() == []
            assert "broker" in second.told["pids"]
            assert head(second) == sha

    after = memrepo("store", "verify", "acme", "agent-42", folder=tmp_path)
    assert (after.code, after.stdout) == (2, "")
    assert "MEMREPO_STORE_URL: is not set, and no `memrepo up` runs on ./memrepo-data" in after.stderr


def test_a_redis_that_is_there_already_is_used_and_stays(tmp_path: Path) -> None:
    with valkey(tmp_path / "valkey") as broker:
        with up(tmp_path, env={"MEMREPO_BROKER_URL": broker.url}) as running:
            assert running.broker_url == broker.url
            assert "broker" not in running.told["pids"]
            remember(running, "likes tea\n")
            running.process.terminate()
            assert running.process.wait(40) == 0
            assert running.left_running() == []
        assert broker.client().ping()


@pytest.mark.parametrize("what", ["--port", "MEMREPO_FLOWER_PORT"])
def test_a_port_that_was_asked_for_and_is_taken_is_refused(tmp_path: Path, what: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        options = ["--port", port if what == "--port" else "0"]
        env = {} if what == "--port" else {what: port}
        ended = memrepo("up", *options, folder=tmp_path, env=env)

    assert ended.code == 4
    assert ended.stderr == (
        f"Error: port {port} cannot be used (Address already in use): give another with {what}, or 0 for any\n"
    )


def test_usual_ports_that_are_taken_are_left_to_others_and_it_is_said(
    told_in_words: tuple[Path, str],
) -> None:
    _, told = told_in_words

    assert "(embedded Valkey; port 6379 is taken)" in told
    assert "shown once; port 5555 is taken)" in told


def test_it_says_what_another_terminal_needs(told_in_words: tuple[Path, str], tmp_path: Path) -> None:
    folder, told = told_in_words
    exports = dict(re.findall(r"^  export (\w+)=(.*)$", told, re.MULTILINE))

    assert f"Other terminals need no settings where `memrepo` is run in {folder}.\n" in told
    assert set(exports) == {"MEMREPO_BROKER_URL", "MEMREPO_STORE_URL", "MEMREPO_CACHE_DIR"}
    assert memrepo("create", "acme", "ann", folder=tmp_path, env=exports).code == 0
    assert memrepo("doctor", folder=tmp_path, env=exports).code == 0
    assert "sound" in memrepo("store", "verify", "acme", "ann", folder=tmp_path, env=exports).stdout


def test_commands_in_the_same_folder_find_what_runs_there(running: Up) -> None:
    assert running.told["env"]["MEMREPO_BROKER_URL"] == running.broker_url
    assert set(running.told["env"]) == {"MEMREPO_BROKER_URL", "MEMREPO_STORE_URL", "MEMREPO_CACHE_DIR"}

    assert memrepo("create", "acme", "ann", folder=running.folder).code == 0
    for command in (("doctor",), ("store", "verify", "acme", "ann"), ("shards",), ("config",)):
        ended = memrepo(*command, folder=running.folder)
        assert ended.code == 0, ended.stderr
        assert "the running `memrepo up`, memrepo-data/run/up.json" in ended.stdout + ended.stderr
        as_json = memrepo(*command, "--json", folder=running.folder)
        assert as_json.stderr == ""
        assert json.loads(as_json.stdout)

    other = memrepo("shards", folder=running.folder, env={"MEMREPO_BROKER_URL": "redis://127.0.0.1:1/0"})
    assert other.code == 5  # what the environment says goes first


def test_a_redis_that_does_not_answer_is_refused_in_one_line(tmp_path: Path) -> None:
    nowhere = f"redis://user:hidden@127.0.0.1:{closed_port()}/0"
    ended = memrepo("up", folder=tmp_path, env={"MEMREPO_BROKER_URL": nowhere})

    assert ended.code == 5
    assert ended.stderr.count("\n") == 1
    assert "cannot be reached" in ended.stderr
    assert "hidden" not in ended.stderr


def test_what_it_keeps_is_for_its_owner_alone(running: Up) -> None:
    remember(running, "likes tea\n", SHARDS)
    data = running.folder / "memrepo-data"
    everything = [data, *data.rglob("*")]
    open_to_others = [str(path) for path in everything if stat.S_IMODE(path.lstat().st_mode) & 0o077]
    commands = [" ".join(process.cmdline()) for process in running.tree]
    password = (data / "broker" / "password").read_text()

    assert len(everything) > 20
    assert open_to_others == []
    assert password in running.broker_url
    assert not any(password in command for command in commands), "others can read command lines"


def test_its_broker_serves_nobody_without_the_password(running: Up) -> None:
    port = parse_redis_url(running.broker_url, "here").port
    with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.llen("memrepo.000")


def test_the_password_stays_and_a_folder_of_an_earlier_version_gets_one(tmp_path: Path) -> None:
    folder = tmp_path / "broker"
    folder.mkdir(mode=0o755)

    first = EmbeddedBroker.prepare(folder, 1)
    again = EmbeddedBroker.prepare(folder, 2)

    assert len(first.password) >= 32
    assert again.password == first.password
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_of_any_name_keeps_the_broker(running: Up) -> None:
    remember(running, "likes tea\n", SHARDS)

    assert '"quotes"' in running.folder.name
    assert (running.folder / "memrepo-data" / "broker" / "appendonlydir").is_dir()


def test_another_store_than_the_brokers_is_refused_with_what_can_be_done(tmp_path: Path) -> None:
    with up(tmp_path) as first:
        remember(first, "likes tea\n")
        first.process.terminate()
        assert first.process.wait(40) == 0

    other = {"MEMREPO_STORE_URL": (tmp_path / "another").as_uri()}
    ended = memrepo("up", "--port", "0", folder=tmp_path, env=other)

    assert ended.code == 4
    assert "was used with another store" in ended.stderr
    assert "give another folder with --data" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_part_that_is_not_ready_in_time_is_told_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "START_TIMEOUT_S", -1.0)  # over before anything can be ready
    with (
        pytest.raises(SystemStartError, match=r"the \w+ was not ready within .* Its log is ") as told,
        running_system(plan_in(tmp_path), Processes(Counters()), stopped=lambda: False, hurried=lambda: True),
    ):
        pass

    assert Path(str(told.value).rpartition(" ")[2]).parent == tmp_path / "data" / "run"


def plan_in(folder: Path) -> SystemPlan:
    return SystemPlan(
        data=folder / "data",
        store_url=(folder / "store").as_uri(),
        broker_url="",
        broker_port=PortWish(0, "--port"),
        flower_port=PortWish(5555),
        flower_auth="watcher:secret",
        env=dict(environment()),
    )


def test_a_port_that_somebody_takes_meanwhile_is_left_to_him(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look for a free port and the server's own bind there is a moment for others."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
        monkeypatch.setattr(PortWish, "take", taking_first(port))
        with running_system(
            plan_in(tmp_path), Processes(Counters()), stopped=lambda: False, hurried=lambda: True
        ) as running:
            assert f":{port}" not in running.broker_url + running.flower_url
            assert running.children.first_dead() is None


def taking_first(port: int) -> Callable[[PortWish], int]:
    """Give a port that is taken to the first two that ask, the broker and Flower; then free ones."""
    ports = iter([port, port])
    take = PortWish.take
    return lambda wish: next(ports, None) or take(wish)
