from __future__ import annotations

import json
from pathlib import Path

from memrepo import MemoryRepos
from memrepo.routing import route
from tests.support.commands import memrepo
from tests.support.ports import closed_port
from tests.support.suspended import suspended
from tests.support.systems import System


def test_an_idle_system_is_one_line_per_owner(system: System, memories: MemoryRepos, tmp_path: Path) -> None:
    memories.repo(org_id="acme", agent_id="idle").list_files().future.exception(timeout=20)

    ended = memrepo("shards", folder=tmp_path, env={"MEMREPO_BROKER_URL": system.broker_url})

    assert ended.code == 0
    owner, waiting, store = ended.stdout.splitlines()
    assert owner.endswith(" owns 64 of 64 shards")
    assert waiting == "nothing waits"
    assert store.startswith("store: ")


def test_a_queue_that_fills_is_shown(system: System, memories: MemoryRepos, tmp_path: Path) -> None:
    memory = memories.repo(org_id="acme", agent_id="shown")
    memory.create_repo().result(timeout_s=20)

    with suspended(system.worker_pid):
        jobs = [memory.commit({"notes.md": f"{number}\n"}, "Learn") for number in range(5)]
        env = {"MEMREPO_BROKER_URL": system.broker_url}
        found = json.loads(memrepo("shards", "--json", folder=tmp_path, env=env).stdout)
        shown = memrepo("shards", folder=tmp_path, env=env).stdout
    for job in jobs:
        job.result(timeout_s=20)

    queue = route("acme", "shown")
    (busy,) = [shard for shard in found if shard["waiting"] + shard["in_flight"]]
    assert busy["queue"] == queue
    assert busy["waiting"] + busy["in_flight"] == 5
    assert queue in shown


def test_a_broker_that_is_away_is_one_line(tmp_path: Path) -> None:
    ended = memrepo(
        "shards", folder=tmp_path, env={"MEMREPO_BROKER_URL": f"redis://127.0.0.1:{closed_port()}/0"}
    )

    assert ended.code == 5
    assert ended.stderr.count("\n") == 1
    assert "cannot be reached: nobody listens there" in ended.stderr


def test_without_a_worker_it_is_one_line_not_one_per_shard(system: System, tmp_path: Path) -> None:
    env = {"MEMREPO_BROKER_URL": system.broker_url.removesuffix("/0") + "/7"}  # where nobody ever served
    idle = memrepo("shards", folder=tmp_path, env=env)
    with MemoryRepos(broker_url=env["MEMREPO_BROKER_URL"]) as repos:
        repos.repo(org_id="acme", agent_id="waits").list_files()
    waiting = memrepo("shards", folder=tmp_path, env=env)

    assert (idle.code, waiting.code) == (0, 0)
    assert idle.stdout == "No worker serves the 64 shards; nothing waits. Start one: memrepo worker\n"
    first, _, head, row = waiting.stdout.splitlines()
    assert first == "No worker serves the 64 shards; 1 request in the queues. Start one: memrepo worker"
    assert head.startswith("queue")
    assert row.startswith(route("acme", "waits"))
