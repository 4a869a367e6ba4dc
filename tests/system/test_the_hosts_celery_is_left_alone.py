"""Whatever a host has set for a Celery of its own: memrepo goes to memrepo's broker, and the host's is the host's."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import redis

from memrepo.settings import environment
from tests.support.commands import MEMREPO, memrepo
from tests.support.documents import ROOT
from tests.support.host_program import HOST_QUEUE
from tests.support.ports import LOOPBACK, answers, free_port
from tests.support.started import started
from tests.support.systems import System, running_worker
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import wait_for

CELERY = str(Path(sys.executable).parent / "celery")

VARIABLES = {
    "the broker": "CELERY_BROKER_URL",
    "the broker to write to": "CELERY_BROKER_WRITE_URL",
    "the broker to read from": "CELERY_BROKER_READ_URL",
    "the result backend": "CELERY_RESULT_BACKEND",
}
"""What Celery reads from the environment by itself; each names the host's broker."""

MODULES = {
    "addresses": "broker_url = broker_write_url = broker_read_url = result_backend = HOST_BROKER",
    "addresses in old words": "BROKER_URL = HOST_BROKER\nCELERY_RESULT_BACKEND = HOST_BROKER",
    "another transport": "broker_transport = 'memory'",
    "another protocol": "task_protocol = 1",
    "eager tasks": "task_always_eager = True",
    "compression": "task_compression = result_compression = 'gzip'",
    "pickle": "task_serializer = result_serializer = 'pickle'\naccept_content = ['pickle']",
    "routes": "task_routes = {'*': {'queue': 'host'}}\ntask_default_queue = 'host'",
    "a prefix of keys": "broker_transport_options = {'global_keyprefix': 'host:'}",
    "priorities": "task_default_priority = 9\nbroker_transport_options = {'priority_steps': list(range(10))}",
    "tls": "broker_use_ssl = {'ssl_cert_reqs': 0}",
    "results": "task_ignore_result = True\nresult_expires = 1",
    "workers": "worker_pool = 'solo'\nworker_concurrency = 1\ntask_acks_late = False",
    "annotations": "task_annotations = {'*': {'rate_limit': '1/h'}}",
}
"""What a module of settings may say that ``CELERY_CONFIG_MODULE`` names."""


@dataclass(frozen=True)
class Host:
    """A host's broker and its folder of modules; ``everything`` is all that is hostile of it at once."""

    broker: Valkey
    folder: Path
    asking: redis.Redis

    @property
    def cases(self) -> dict[str, dict[str, str]]:
        """What it may have set, by name."""
        modules = {name: {"CELERY_CONFIG_MODULE": module_of(name)} for name in MODULES}
        return {
            **{name: {variable: self.broker.url} for name, variable in VARIABLES.items()},
            **modules,
            "a loader": {"CELERY_LOADER": "default"},
            "django": {"DJANGO_SETTINGS_MODULE": "celeryconfig"},
        }

    @property
    def everything(self) -> dict[str, str]:
        whole = {name: value for case in self.cases.values() for name, value in case.items()}
        return {**whole, "CELERY_CONFIG_MODULE": "celeryconfig", "PYTHONPATH": str(self.folder)}

    def write_modules(self) -> None:
        self.folder.mkdir()
        address = f"HOST_BROKER = {self.broker.url!r}\n"
        for name, said in MODULES.items():
            (self.folder / f"{module_of(name)}.py").write_text(address + said)
        alike = "addresses in old words"  # Celery takes old words or new ones
        every = "\n".join(said for name, said in MODULES.items() if name != alike)
        (self.folder / "celeryconfig.py").write_text(address + every)

    def connections(self) -> int:
        """How many connections were ever made to its broker."""
        return int(self.asking.info("stats")["total_connections_received"])

    def key_names(self) -> set[str]:
        return {str(key) for key in self.asking.keys("*")}


def module_of(name: str) -> str:
    return f"host_says_{name.replace(' ', '_')}"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("host")
    with valkey(folder / "valkey") as broker, broker.client() as client:
        one = Host(broker, folder / "modules", client)
        one.write_modules()
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
