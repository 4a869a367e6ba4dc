"""What the wheel and pip make, without lock and development tools, in new environments of the three kinds.

Each with the newest versions of all it depends on, and with the lowest that it declares.
"""

from __future__ import annotations

import base64
import json
import re
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from memrepo_worker.cli.entry import ROWS
from tests.fresh.conftest import VERSIONS, Environments
from tests.fresh.environments import EXTRAS, Environment, resolve
from tests.fresh.packages import Packages
from tests.fresh.pythons import Python
from tests.support.commands import Ended, memrepo, up
from tests.support.gcs_server import gcs_server
from tests.support.seaweedfs import seaweedfs
from tests.support.seeded_repository import write_seeded_repository
from tests.support.stock_git import stock_git
from tests.support.systems import running_worker
from tests.support.valkey import valkey
from tests.support.waiting import wait_for

pytestmark = pytest.mark.timeout(400)

AUTH = "watcher:secret"
INLINE = """
from memrepo_worker.testing import inline_repos

with inline_repos() as repos:
    repo = repos.repo(org_id="acme", agent_id="agent-1")
    repo.commit({"human.md": "likes tea"}, "learned", create_repo_if_missing=True)
    print(repo.get_file("human.md").result().text)
"""


def says(environment: Environment, *arguments: str, folder: Path, env: dict[str, str] | None = None) -> str:
    """Run its command, which has to go well, and return what it printed."""
    ended = run(environment, *arguments, folder=folder, env=env)
    assert ended.code == 0, ended.stderr
    return ended.stdout


def run(environment: Environment, *arguments: str, folder: Path, env: dict[str, str] | None = None) -> Ended:
    return memrepo(*arguments, folder=folder, env=env, program=environment.memrepo)


def is_fit(environment: Environment, folder: Path, env: dict[str, str]) -> bool:
    """Tell whether its doctor finds everything in order, and looked at the store."""
    settings = {**env, "MEMREPO_CACHE_DIR": str(folder / "cache")}
    findings = json.loads(says(environment, "doctor", "--json", folder=folder, env=settings))
    return all(each["ok"] for each in findings) and "store" in {each["check"] for each in findings}


def commit_and_read(environment: Environment, folder: Path, env: dict[str, str]) -> None:
    says(environment, "create", "acme", "agent-1", folder=folder, env=env)
    commit = ("commit", "acme", "agent-1", "-m", "learned", "--text", "human.md", "likes tea")
    assert "learned" in says(environment, *commit, folder=folder, env=env)
    assert says(environment, "cat", "acme", "agent-1", "human.md", folder=folder, env=env) == "likes tea"


@pytest.mark.parametrize("versions", VERSIONS)
@pytest.mark.parametrize("kind", EXTRAS)
def test_it_installs_and_tells_what_it_can_do(
    kind: str, versions: str, environments: Environments, tmp_path: Path
) -> None:
    environment = environments(kind, versions)

    environment.python("-m", "pip", "check")
    environment.python("-c", "import memrepo; [getattr(memrepo, name) for name in memrepo.__all__]")
    told = says(environment, "--help", folder=tmp_path)

    assert all(command in told for command in ("commit", "cat", *ROWS))


@pytest.mark.parametrize("versions", VERSIONS)
def test_where_the_worker_is_missing_its_commands_say_what_to_install(
    versions: str, environments: Environments, tmp_path: Path
) -> None:
    ended = run(environments("producer", versions), "doctor", folder=tmp_path)

    assert ended.code == 1
    assert re.search(r"pip install '/\S+\.whl\[worker\]'", ended.stderr), "from where this one came"
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("versions", VERSIONS)
def test_users_own_tests_have_the_service_inline(versions: str, environments: Environments) -> None:
    said = environments("worker", versions).python("-c", INLINE)

    assert said == "likes tea\n"


@pytest.mark.parametrize("versions", VERSIONS)
def test_a_worker_serves_a_producer_that_has_nothing_else(
    versions: str, environments: Environments, tmp_path: Path
) -> None:
    producer, worker = environments("producer", versions), environments("worker", versions)
    source = write_seeded_repository(tmp_path / "source.git", stock_git(), commits=20)
    store_url = (tmp_path / "store").as_uri()
    with valkey(tmp_path / "valkey") as broker:
        env = {"MEMREPO_BROKER_URL": broker.url, "MEMREPO_STORE_URL": store_url}
        fit = is_fit(worker, tmp_path, env)
        with running_worker(tmp_path / "worker", broker, store_url, program=worker.memrepo):
            commit_and_read(producer, tmp_path, {"MEMREPO_BROKER_URL": broker.url})
            replayed = says(worker, "replay", str(source), folder=tmp_path, env=env)

    assert fit
    assert "20 of 20" in replayed


@pytest.mark.parametrize("versions", VERSIONS)
def test_with_all_extras_buckets_are_served_and_flower_watches_but_changes_nothing(
    versions: str, environments: Environments, tmp_path: Path
) -> None:
    whole = environments("whole", versions)
    with seaweedfs(tmp_path / "s3") as s3, gcs_server(tmp_path / "gcs") as gcs:
        env = {
            "MEMREPO_STORE_URL": s3.store_url("fresh"),
            "MEMREPO_FLOWER_BASIC_AUTH": AUTH,
            **s3.environment,
        }
        with up(tmp_path / "up", env=env, program=whole.memrepo) as running:
            broker = {"MEMREPO_BROKER_URL": running.broker_url}
            commit_and_read(whole, tmp_path, broker)
            another = f"{running.broker_url.rpartition('/')[0]}/1"  # a broker serves one store
            gs = {"MEMREPO_BROKER_URL": another, "MEMREPO_STORE_URL": gcs.store_url("fresh")}
            fit = is_fit(whole, tmp_path, gs)
            flower = str(running.told["flower_url"])
            wait_for(lambda: '"memrepo.commit"' in ask(f"{flower}/api/tasks"), "Flower to show the commit")
            refused = ask(f"{flower}/api/task/send-task/memrepo.commit", post=True)

    assert fit
    assert refused.startswith("HTTP 4")


def ask(url: str, *, post: bool = False) -> str:
    """Return what Flower answers; its refusal, too."""
    headers = {"Authorization": "Basic " + base64.b64encode(AUTH.encode()).decode()}
    request = urllib.request.Request(url, data=b'{"args": []}' if post else None, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code}"


def test_every_supported_python_of_this_machine_finds_all_it_needs(
    packages: Packages, interpreters: list[Python], environments: Environments, tmp_path: Path
) -> None:
    environments("whole", "lowest")  # not at the same time as those
    for python in interpreters[:-1]:  # the newest one has installed it all
        resolve(tmp_path / python.version, python, packages.wheel, EXTRAS["whole"], [])
