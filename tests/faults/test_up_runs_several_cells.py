"""``memrepo up --cells 2``: several brokers on one machine, for trying out what several cells are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memrepo import MemoryRepos, Settings
from memrepo.routing import cell_in_id, cell_of
from tests.support.commands import memrepo, up
from tests.support.waiting import wait_for

pytestmark = pytest.mark.timeout(300)


def test_two_then_three_cells_and_never_fewer(tmp_path: Path) -> None:
    with up(tmp_path, "--cells", "2") as running:
        assert list(running.told["cells"]) == ["a", "b"]
        assert {"broker", "broker-b", "worker", "worker-b"} <= set(running.told["pids"])
        assert "MEMREPO_BROKER_URL" not in running.told["env"]
        settings = Settings.from_env(running.told["env"])
        agents = [next(f"n{n}" for n in range(99) if cell_of("acme", f"n{n}", "ab") == cell) for cell in "ab"]
        with MemoryRepos(settings=settings) as repos:
            jobs = [repos.repo(org_id="acme", agent_id=agent).create_repo({"a": agent}) for agent in agents]
            assert [cell_in_id(job.id) for job in jobs] == ["a", "b"]
            repos.wait(jobs, timeout_s=60)
        # Other commands in the folder need no settings.
        shown = json.loads(memrepo("cells", "--json", folder=tmp_path).stdout)
        assert [(one["cell"], len(one["workers"])) for one in shown] == [("a", 1), ("b", 1)]
        assert memrepo("cat", "acme", agents[1], "a", folder=tmp_path).stdout == agents[1]

        running.process.terminate()
        assert running.process.wait(60) == 0
        wait_for(lambda: running.left_running() == [], "all to have ended")

    fewer = memrepo("up", "--port", "0", folder=tmp_path)
    assert fewer.code == 4
    assert "was used with cells up to b: give --cells 2, or remove" in fewer.stderr

    with (
        up(tmp_path, "--cells", "3") as running,
        MemoryRepos(settings=Settings.from_env(running.told["env"])) as repos,
    ):
        for agent in agents:
            assert repos.repo(org_id="acme", agent_id=agent).get_file("a").result(timeout_s=60).text == agent
