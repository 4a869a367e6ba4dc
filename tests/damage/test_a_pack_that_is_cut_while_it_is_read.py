"""A pack that is cut short while a worker reads it ends that worker as a kill does, and nothing else is harmed."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from random import Random

import psutil
import pytest

from memrepo import MemoryRepo, MemoryRepos
from tests.support.systems import running_worker
from tests.support.valkey import valkey

ANSWER_S = 60
FILE_BYTES = 50_000
PAGE_BYTES = 4096


def texts_of(repo: MemoryRepo, *paths: str) -> dict[str, str]:
    job = repo.get_files(paths=list(paths))
    return {path: file.text for path, file in job.result(timeout_s=ANSWER_S).items()}


@pytest.mark.skipif(not hasattr(signal, "SIGBUS"), reason="a signal of POSIX systems")
def test_the_next_worker_answers_from_the_store_and_commits_go_on(tmp_path: Path) -> None:
    random = Random(7)
    files = {f"{name}.md": random.randbytes(FILE_BYTES).hex() for name in "abcdefghijklmnopqrstuvwxyz"}
    store, folder = (tmp_path / "store").as_uri(), tmp_path / "worker"
    env = {"MEMREPO_LEASE_S": "1"}
    with valkey(tmp_path / "valkey") as broker, MemoryRepos(broker_url=broker.url) as repos:
        repo = repos.repo(org_id="acme", agent_id="agent-1")
        with running_worker(folder, broker, store, env=env) as first:
            worker = psutil.Process(first.worker_pid)
            repo.create_repo(files).result(timeout_s=ANSWER_S)
            assert texts_of(repo, "a.md") == {"a.md": files["a.md"]}, "the pack is open, and mapped"
            (pack,) = (folder / "cache").rglob("pack-*.pack")

            os.truncate(pack, PAGE_BYTES)
            waiting = repo.get_files(paths=["b.md"])

            worker.wait(ANSWER_S)

        with running_worker(folder, broker, store, env=env):
            made = repo.commit({"new.md": "3\n"}, "third")
            assert waiting.result(timeout_s=ANSWER_S)["b.md"].text == files["b.md"]
            assert made.result(timeout_s=ANSWER_S).created
            assert texts_of(repo, *files) == files
