"""A host with a Celery of its own: its broker, and what it may have set for that, which is no business of memrepo's.

With ``HOST_SAYS`` a whole run of pytest happens inside such a host (see ``running_inside``): every process of it gets
the variables of that case, and nothing may reach the host's broker.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis
from celery import Celery

from memrepo.settings import environment
from tests.support.host_program import HOST_QUEUE
from tests.support.valkey import Valkey, valkey

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


_NAMES = ("CELERY_CONFIG_MODULE", "CELERY_LOADER", "DJANGO_SETTINGS_MODULE", *VARIABLES.values())
FOLDER = "HOST_MODULES"
"""Where this process has its host's modules from, if it is inside one."""


@contextmanager
def a_host(folder: Path) -> Iterator[Host]:
    """Run a host's broker, beside its modules, until the block ends."""
    with valkey(folder / "valkey") as broker, broker.client() as client:
        one = Host(broker, folder / "modules", client)
        one.write_modules()
        yield one


@contextmanager
def running_inside(folder: Path, case: str) -> Iterator[None]:
    """Have this process, and all that it starts, be inside a host that has set this; nothing may reach its broker.

    In the end the host sends something by its own Celery, which shows that what reaches the broker is counted.
    """
    with a_host(folder) as host:
        before = host.connections()
        os.environ.update(host.cases[case] | {FOLDER: str(host.folder)})
        sys.path.append(str(host.folder))
        yield
        for name in (*host.cases[case], FOLDER):
            del os.environ[name]
        assert host.connections() == before, "something reached the host's broker"
        assert host.key_names() == set()
        Celery("host", broker=host.broker.url).send_task("host.task", queue=HOST_QUEUE)
        assert host.connections() > before


def inherited() -> dict[str, str]:
    """Return what a process has of its host, if this run is inside one: nothing mostly."""
    env = environment()
    if FOLDER not in env:
        return {}
    return {**{name: env[name] for name in _NAMES if name in env}, "PYTHONPATH": env[FOLDER]}


def import_path(folder: Path) -> str:
    """Return ``PYTHONPATH`` for a process that is to find modules in a folder, and its host's."""
    return os.pathsep.join([str(folder), inherited().get("PYTHONPATH", "")]).rstrip(os.pathsep)


if __name__ == "__main__":
    print("\n".join([*VARIABLES, *MODULES, "a loader", "django"]))
