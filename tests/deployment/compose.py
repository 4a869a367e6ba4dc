"""What ``docker-compose.yml`` says, as Compose itself reads it, and its services' commands outside of containers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from memrepo.settings import environment
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes
from tests.deployment.tools import debians
from tests.support.documents import ROOT

SECRETS = {
    "MEMREPO_BROKER_PASSWORD": "broker-secret",
    "MEMREPO_STORE_SECRET": "store-secret",
    "MEMREPO_FLOWER_BASIC_AUTH": "watcher:flower-secret",
}


@dataclass(frozen=True)
class Service:
    """One service, and what to say in the places of a container's addresses and folders."""

    says: Mapping[str, Any]
    here: Mapping[str, str]

    @property
    def command(self) -> Sequence[str]:
        """Its command, as it is run here."""
        command = self.says["command"]
        parts = command.split() if isinstance(command, str) else command
        return [self._moved(part) for part in parts]

    @property
    def check(self) -> Sequence[str]:
        """The command of its health check, as it is run here."""
        kind, *parts = self.says["healthcheck"]["test"]
        parts = [self._moved(part) for part in parts]
        return ["/bin/sh", "-c", *parts] if kind == "CMD-SHELL" else parts

    @property
    def env(self) -> dict[str, str]:
        """Its environment, as it is here."""
        return {name: self._moved(str(value)) for name, value in self.says.get("environment", {}).items()}

    def _moved(self, text: str) -> str:
        text = text.replace("$$", "$")
        for there, here in self.here.items():
            text = text.replace(there, here)
        return text


def services(here: Mapping[str, str] | None = None, env: Mapping[str, str] = SECRETS) -> dict[str, Service]:
    """Return the services by name.

    Raises:
        ProcessFailedError: Compose refuses the file, or a variable is missing; the message ends with its words.
    """
    told = Processes(Counters()).run(
        [debians("docker-compose", "docker-compose"), "--file", str(ROOT / "docker-compose.yml"), "config"],
        env={"PATH": environment()["PATH"], "HOME": "/nonexistent", **env},
        timeout_s=60,
    )
    return {name: Service(says, here or {}) for name, says in yaml.safe_load(told)["services"].items()}
