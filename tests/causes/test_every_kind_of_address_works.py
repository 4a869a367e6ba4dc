"""A Unix socket and TLS: for producer, worker, doctor and shards alike."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memrepo import MemoryRepos
from tests.causes.conftest import Servers
from tests.support.commands import memrepo
from tests.support.systems import running_worker
from tests.support.valkey import valkey

LARGE = "x" * 100_000  # travels beside its message


@pytest.mark.parametrize("kind", ["unix", "rediss"])
def test_a_commit_and_a_read_go_through_it(servers: Servers, tmp_path: Path, kind: str) -> None:
    socket = tmp_path / "redis.sock"
    urls = {"unix": f"unix://{socket}?db=3", "rediss": servers.url("verified")}
    with valkey(tmp_path / "valkey", "no", "--unixsocket", str(socket)) as server:
        env = {"MEMREPO_BROKER_URL": urls[kind]}
        with (
            running_worker(
                tmp_path / "worker", server, (tmp_path / "store").as_uri(), url=urls[kind]
            ) as system,
            MemoryRepos(broker_url=system.broker_url) as repos,
        ):
            repo = repos.repo(org_id="acme", agent_id="agent-1")
            repo.commit({"a.md": LARGE}, "m", create_repo_if_missing=True).result(timeout_s=20)

            assert repo.get_file("a.md").result(timeout_s=20).text == LARGE
            shards = memrepo("shards", "--json", folder=tmp_path, env=env)
            assert {shard["owner"] is None for shard in json.loads(shards.stdout)} == {False}
            found = memrepo(
                "doctor", "--json", folder=tmp_path, env={**env, "MEMREPO_STORE_URL": system.store_url}
            )
            assert {one["check"]: one["ok"] for one in json.loads(found.stdout)}["broker"]
