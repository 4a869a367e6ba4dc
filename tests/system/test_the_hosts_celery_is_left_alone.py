"""Whatever a host has set for a Celery of its own: memrepo goes to memrepo's broker, and the host's is the host's."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from memrepo.settings import environment
from tests.support.commands import MEMREPO, memrepo
from tests.support.documents import ROOT
from tests.support.host import MODULES, VARIABLES, Host, a_host
from tests.support.host_program import HOST_QUEUE
from tests.support.ports import LOOPBACK, answers, free_port
from tests.support.started import started
from tests.support.systems import System, running_worker
from tests.support.valkey import valkey
from tests.support.waiting import wait_for

CELERY = str(Path(sys.executable).parent / "celery")


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with a_host(tmp_path_factory.mktemp("host")) as one:
        yield one


@pytest.fixture(scope="module")
def hosted_system(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A worker that runs in all that is hostile at once."""
    folder = tmp_path_factory.mktemp("hosted")
    with ExitStack() as stack:
        broker = stack.enter_context(valkey(folder / "valkey"))
        store = (folder / "store").as_uri()
        yield stack.enter_context(running_worker(folder / "worker", broker, store, env=host.everything))


@pytest.fixture(scope="module")
def became(host: Host, hosted_system: System) -> Mapping[str, str]:
    """What became of memrepo's work in the host's program, under each of its settings."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.support.host_program", host.broker.url, json.dumps(host.cases)],
        env={
            "PATH": environment()["PATH"],
            "PYTHONPATH": f"{host.folder}:{ROOT}",
            "MEMREPO_BROKER_URL": hosted_system.broker_url,
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    told: Mapping[str, str] = json.loads(ended.stdout)
    return told


@pytest.mark.parametrize("case", [*VARIABLES, *MODULES, "a loader", "django"])
def test_a_commit_is_made_and_read_in_a_host_that_has_set(case: str, became: Mapping[str, str]) -> None:
    assert became[case] == "ok"


def test_the_hosts_broker_holds_what_the_host_has_sent_and_nothing_else(
    host: Host, became: Mapping[str, str]
) -> None:
    assert host.asking.llen(HOST_QUEUE) == len(became)
    assert {key for key in host.key_names() if not key.startswith("_kombu.binding")} == {HOST_QUEUE}


def test_a_doctor_in_that_environment_asks_memrepos_broker_alone(
    host: Host, hosted_system: System, tmp_path: Path
) -> None:
    before = host.connections()
    env = {"MEMREPO_BROKER_URL": hosted_system.broker_url, "MEMREPO_STORE_URL": hosted_system.store_url}

    ended = memrepo("doctor", folder=tmp_path, env={**host.everything, **env})

    assert ended.code == 0, ended.stdout
    assert hosted_system.broker_url.rpartition("/")[0] in ended.stdout
    assert host.connections() == before


def test_flower_in_that_environment_shows_memrepos_workers(
    host: Host, hosted_system: System, tmp_path: Path
) -> None:
    before, port = host.connections(), free_port()
    env = {"MEMREPO_BROKER_URL": hosted_system.broker_url, "FLOWER_BASIC_AUTH": "me:secret"}
    options = [
        "-A",
        "memrepo_worker",
        "-b",
        host.broker.url,
        "flower",
        f"--address={LOOPBACK}",
        f"--port={port}",
    ]

    with started(
        [CELERY, *options], folder=tmp_path, ready=lambda: answers(port), env={**host.everything, **env}
    ):
        wait_for(lambda: 'flower_worker_online{worker="memrepo-' in metrics(port), "a worker to be shown")

    assert host.connections() == before


def test_our_flower_reads_no_settings_but_ours(
    host: Host, hosted_system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, port = host.connections(), free_port()
    env = {
        "MEMREPO_BROKER_URL": hosted_system.broker_url,
        "MEMREPO_FLOWER_BASIC_AUTH": "me:secret",
        "FLOWER_BASIC_AUTH": "somebody:else",
        "FLOWER_UNAUTHENTICATED_API": "true",
        "FLOWER_READ_ONLY": "false",
        "FLOWER_URL_PREFIX": "elsewhere",
    }
    (tmp_path / "flowerconfig.py").write_text("raise SystemExit('read')\nread_only = False\n")
    command = [MEMREPO, "flower", "--port", str(port)]
    monkeypatch.chdir(tmp_path)
    with started(command, folder=tmp_path, ready=lambda: answers(port), env={**host.everything, **env}):
        wait_for(lambda: 'flower_worker_online{worker="memrepo-' in metrics(port), "a worker to be shown")

        assert asked(port, "/api/tasks", "me:secret") == 200
        assert asked(port, "/api/tasks", "somebody:else") == 401
        assert asked(port, "/api/tasks") == 401
        assert asked(port, "/api/task/revoke/x", "me:secret", data=b"") == 403

    assert host.connections() == before


def asked(port: int, path: str, login: str = "", data: bytes | None = None) -> int:
    """Return with which status Flower answers."""
    headers = {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"} if login else {}
    try:
        with urlopen(Request(f"http://{LOOPBACK}:{port}{path}", data, headers), timeout=10) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code


def metrics(port: int) -> str:
    with urlopen(f"http://{LOOPBACK}:{port}/metrics", timeout=10) as answer:
        return str(answer.read().decode())
