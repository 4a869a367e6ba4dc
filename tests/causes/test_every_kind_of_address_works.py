"""A Unix socket and TLS: for producer, worker, Flower, ``up``, doctor and shards alike."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from memrepo import MemoryRepos
from tests.causes.conftest import Servers
from tests.support.commands import memrepo, up
from tests.support.valkey import valkey

LARGE = "x" * 100_000  # travels beside its message


def page_of_flower(url: str, login: str) -> str:
    headers = {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
    with urlopen(Request(url, headers=headers), timeout=20) as page:
        return str(page.read(), "utf-8")


@pytest.mark.parametrize("kind", ["unix", "rediss"])
def test_a_commit_and_a_read_go_through_it(servers: Servers, tmp_path: Path, kind: str) -> None:
    socket = tmp_path / "redis.sock"
    url = {"unix": f"unix://{socket}?db=3", "rediss": servers.url("verified")}[kind]
    with (
        valkey(tmp_path / "valkey", "no", "--unixsocket", str(socket)),
        up(tmp_path / "up", env={"MEMREPO_BROKER_URL": url}) as running,
        MemoryRepos(broker_url=url) as repos,
    ):
        repo = repos.repo(org_id="acme", agent_id="agent-1")
        repo.commit({"a.md": LARGE}, "m", create_repo_if_missing=True).result(timeout_s=20)

        assert repo.get_file("a.md").result(timeout_s=20).text == LARGE
        assert "memrepo.000" in page_of_flower(
            f"{running.told['flower_url']}/broker", running.told["flower_auth"]
        )
        env = {"MEMREPO_BROKER_URL": url, "MEMREPO_STORE_URL": running.told["store_url"]}
        shards = memrepo("shards", "--json", folder=tmp_path, env=env)
        assert {shard["owner"] is None for shard in json.loads(shards.stdout)} == {False}
        found = memrepo("doctor", "--json", folder=tmp_path, env=env)
        assert {one["check"]: one["ok"] for one in json.loads(found.stdout)}["broker"]
