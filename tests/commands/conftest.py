"""What the table of commands is driven on: a system that serves, one whose store is away, memories of every kind."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from memrepo import MemoryRepos, RepoExistsError
from memrepo_worker.store.open import open_store
from tests.support.http_answers import Answer, answering
from tests.support.legacy_repository import LegacyRepository
from tests.support.ports import LOOPBACK, closed_port
from tests.support.seaweedfs import ACCESS_KEY, SECRET_KEY, SeaweedFs
from tests.support.stock_git import empty_repository, git
from tests.support.systems import System, running_worker
from tests.support.valkey import valkey
from tests.support.writers import AGENT, create, delete, writer

_NUMBERS = count(1)
BUCKET = f"s3://bucket?endpoint_url=http://{LOOPBACK}:{{port}}"
CLOUD = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "eu-west-1"}


@dataclass(frozen=True)
class Places:
    """The variables that lead a command to a system, or to what is wrong with one."""

    by_situation: Mapping[str, Mapping[str, str]]

    def env(self, situation: str) -> dict[str, str]:
        """Return the environment of a situation; most take place on a system that serves."""
        return {**self.by_situation[""], **self.by_situation.get(situation, {})}


@pytest.fixture(scope="session")
def storeless(tmp_path_factory: pytest.TempPathFactory, system: System) -> Iterator[str]:
    """The broker of a worker whose store has gone away since it began."""
    folder = tmp_path_factory.mktemp("storeless")
    store = folder / "store"
    with (
        valkey(folder / "valkey") as broker,
        running_worker(folder / "worker", broker, store.as_uri()) as running,
    ):
        store.rename(folder / "elsewhere")
        store.touch()
        yield running.broker_url


@pytest.fixture(scope="session")
def refusing() -> Iterator[str]:
    """A store that does not know the credentials."""
    with answering(Answer.of_s3(403, "InvalidAccessKeyId", "No such key.")) as port:
        yield BUCKET.format(port=port)


@pytest.fixture(scope="session")
def versioned(s3_server: SeaweedFs) -> str:
    """A bucket that keeps what was replaced and removed."""
    return s3_server.versioned_url("memories")


@pytest.fixture(scope="session")
def places(system: System, storeless: str) -> Places:
    return Places(
        {
            "": {
                "MEMREPO_BROKER_URL": system.broker_url,
                "MEMREPO_STORE_URL": system.store_url,
                "MEMREPO_ENQUEUE_TIMEOUT_S": "30",  # however busy the machine is
                **CLOUD,
            },
            "wrong password": {"MEMREPO_BROKER_URL": system.broker_url.replace("://", "://nobody:s3cr3t@")},
            "broker away": {
                "MEMREPO_BROKER_URL": f"redis://u:s3cr3t@{LOOPBACK}:{closed_port()}/0",
                "MEMREPO_ENQUEUE_TIMEOUT_S": "0.2",
            },
            "store away": {
                "MEMREPO_BROKER_URL": storeless,
                "MEMREPO_STORE_URL": BUCKET.format(port=closed_port()),
            },
        }
    )


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of two commits, as anybody may have one."""
    repo = empty_repository(tmp_path_factory.mktemp("repository") / "notes.git")
    stream = "".join(
        f"commit refs/heads/main\ncommitter Ann <a@b> {1_700_000_000 + number} +0000\ndata 1\nx\n"
        f"M 644 inline notes.md\ndata 2\n{number}\n\n"
        for number in range(2)
    )
    git(repo, "fast-import", "--quiet", stdin=stream.encode())
    return repo


@pytest.fixture(scope="session")
def bundle(repository: Path) -> Path:
    """The same as one file."""
    file = repository.with_suffix(".bundle")
    git(repository, "bundle", "create", "--quiet", str(file), "--all")
    return file


def deleted(store_url: str, folder: Path) -> str:
    """Have a memory begun and deleted, and return its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        store = open_store(store_url)
    with writer(store, folder) as one:
        one.ask(create(human="likes tea"))
        one.ask(delete())
    return AGENT.agent_id


@pytest.fixture
def filled_in(
    system: System,
    memories: MemoryRepos,
    repository: Path,
    bundle: Path,
    refusing: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[Callable[[str], str]]:
    """Fill in what the table leaves open; every name is another one each time."""
    taken = socket.create_server((LOOPBACK, 0))
    number = next(_NUMBERS)

    def memory() -> str:
        repo = memories.repo(org_id="acme", agent_id=f"memory-{number}")
        try:
            repo.create_repo({"human.md": "likes tea\n"}).result(timeout_s=20)
            repo.commit({"human.md": "likes coffee\n"}, "Learn").result(timeout_s=20)
        except RepoExistsError:
            pass
        return repo.agent_id

    def legacy() -> str:
        LegacyRepository(open_store(system.store_url), "acme", f"legacy-{number}").create({"human.md": b"x"})
        return f"legacy-{number}"

    def job() -> str:
        done = memories.repo(org_id="acme", agent_id=memory()).get_head_sha()
        done.result(timeout_s=20)
        return done.id

    def failed() -> str:
        again = memories.repo(org_id="acme", agent_id=memory()).create_repo()
        again.future.exception(timeout=20)
        return again.id

    def fork() -> str:
        repo = memories.repo(org_id="acme", agent_id=memory())
        repo.fork(f"fork-{number}").result(timeout_s=20)
        return f"fork-{number}"

    makers: Mapping[str, Callable[[], str]] = {
        "fork": fork,
        "agent": memory,
        "new": lambda: f"new-{number}",
        "legacy": legacy,
        "job": job,
        "failed": failed,
        "sha": lambda: "5" * 40,
        "folder": lambda: str(tmp_path),
        "bundle": lambda: str(bundle),
        "repository": lambda: str(repository),
        "refusing": lambda: refusing,
        "versioned": lambda: request.getfixturevalue("versioned"),
        "deleted": lambda: deleted(request.getfixturevalue("versioned"), tmp_path / "writer"),
        "taken": lambda: str(taken.getsockname()[1]),
    }
    made: dict[str, str] = {}

    def fill(text: str) -> str:
        for name in re.findall(r"\{(\w+)\}", text):
            if name not in made:
                made[name] = makers[name]()
        return text.format(**made)

    with taken:
        yield fill
