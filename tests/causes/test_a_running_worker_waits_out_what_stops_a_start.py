"""A password that is changed under a running worker stops no worker: it serves again when it may."""

from __future__ import annotations

from pathlib import Path

from memrepo import MemoryRepos
from memrepo.settings import environment
from tests.support.commands import MEMREPO
from tests.support.ports import LOOPBACK
from tests.support.started import started
from tests.support.valkey import valkey
from tests.support.waiting import wait_for_text


def test_a_worker_whose_password_is_refused_serves_again_when_it_is_taken(tmp_path: Path) -> None:
    with valkey(tmp_path / "valkey") as server, server.client() as admin:
        admin.execute_command(*["ACL", "SETUSER", "worker", "on", ">first", "~*", "&*", "+@all"])
        env = {
            "PATH": environment()["PATH"],
            "MEMREPO_BROKER_URL": f"redis://worker:first@{LOOPBACK}:{server.port}/0",
            "MEMREPO_STORE_URL": (tmp_path / "store").as_uri(),
            "MEMREPO_CACHE_DIR": str(tmp_path / "cache"),
            "MEMREPO_LEASE_S": "2",
        }
        log = tmp_path / "memrepo.log"
        with (
            started(
                [MEMREPO, "worker"], folder=tmp_path, ready=lambda: "ready: " in log.read_text(), env=env
            ) as worker,
            MemoryRepos(broker_url=server.url) as repos,
        ):
            repo = repos.repo(org_id="acme", agent_id="agent-1")
            repo.create_repo().result(timeout_s=20)

            admin.execute_command(*["ACL", "SETUSER", "worker", "<first", ">second"])
            server.cut_all_connections()
            wait_for_text(log, "invalid username-password pair", "the worker to be refused")
            job = repo.commit({"a.md": "x"}, "m")
            admin.execute_command(*["ACL", "SETUSER", "worker", ">first"])

            assert job.result(timeout_s=30).created
            assert worker.poll() is None
            assert "Traceback" not in log.read_text()
            assert "first" not in log.read_text()
