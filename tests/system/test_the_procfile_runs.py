from __future__ import annotations

import sysconfig
from pathlib import Path

import psutil

from memrepo import MemoryRepos
from memrepo.settings import environment
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes
from tests.support.commands import runs_now
from tests.support.ports import answers, free_port
from tests.support.valkey import valkey
from tests.support.waiting import wait_for

PROCFILE = Path(__file__).resolve().parents[2] / "Procfile"


def test_worker_and_flower_start_by_it_and_end_together_while_the_broker_stays(tmp_path: Path) -> None:
    scripts, flower_port = sysconfig.get_path("scripts"), free_port()
    with valkey(tmp_path / "valkey") as broker, (tmp_path / "log").open("wb") as log:
        env = {
            "PATH": f"{scripts}:{environment()['PATH']}",
            "MEMREPO_BROKER_URL": broker.url,
            "MEMREPO_STORE_URL": (tmp_path / "store").as_uri(),
            "MEMREPO_CACHE_DIR": str(tmp_path / "cache"),
            "MEMREPO_FLOWER_BASIC_AUTH": "watcher:secret",
            "MEMREPO_FLOWER_PORT": str(flower_port),
        }
        honcho = Processes(Counters()).start(
            [f"{scripts}/honcho", "-f", str(PROCFILE), "-d", str(tmp_path), "start"],
            env=env,
            stdout=log,
            stderr=log,
            cwd=tmp_path,
        )
        try:
            with MemoryRepos(broker_url=broker.url) as repos:
                memory = repos.repo(org_id="acme", agent_id="agent-42")
                assert memory.create_repo({"human.md": "likes tea\n"}).result(timeout_s=60).created
            wait_for(lambda: answers(flower_port), "Flower to listen", timeout_s=60)
            parts = psutil.Process(honcho.pid).children(recursive=True)

            honcho.terminate()

            honcho.wait(60)
            wait_for(lambda: not [part for part in parts if runs_now(part)], "all its processes to end")
            assert broker.client().ping()
        finally:
            if honcho.poll() is None:
                for part in psutil.Process(honcho.pid).children(recursive=True):
                    part.kill()
                honcho.kill()
                honcho.wait()
