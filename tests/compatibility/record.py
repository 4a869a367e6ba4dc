"""Records what one version of memrepo says: the messages, records, payloads and journals that later ones must read.

Run it with the version's own code, once, when that version is released:

    python -m tests.compatibility.record tests/compatibility/recorded/VERSION

It sends one request of each kind (and some that fail) while no worker runs, writes down what lies in the queues, then
lets a worker serve them and writes down their records and the store. Requests and clocks are what they are: whoever
replays them has to go back to ``served_at``.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from memrepo import Author, FileChange, MemoryRepos
from memrepo.jobs.job import Job
from tests.support.started import started
from tests.support.valkey import Valkey, valkey

LARGE = "".join(f"line {number}: what an agent wrote down\n" for number in range(2_200))
"""Too large for a message or a record: it travels as a payload of its own."""


def ask_everything(repos: MemoryRepos) -> Iterator[tuple[str, Job[Any]]]:
    """Send a request of every kind, in an order in which each finds what it needs."""
    ann = repos.repo(org_id="acme", agent_id="ann")
    planner = Author(name="Planner", email="planner@agents.example", id="agent-7")
    yield "create", ann.create_repo({"human.md": "likes tea\n", "persona.md": "calm\n"}, author=planner)
    yield (
        "commit",
        ann.commit(
            [
                FileChange(path="notes/day 1.md", content=b"- asked for tea\n"),
                FileChange(path="picture.bin", content=bytes(range(256))),
                FileChange(path="run.sh", content=b"#!/bin/sh\n", executable=True),
                FileChange(path="persona.md", content=None),
            ],
            "Note a wish\n\nWith a body, and ünicode.",
            author=Author(name="Jörg", email="joerg@example.org", type="user"),
        ),
    )
    yield "unchanged", ann.commit({"human.md": "likes tea\n"}, "Nothing new")
    yield "on a branch", ann.commit({"draft.md": "x\n"}, "Draft", branch="draft", start_point="main")
    yield "head moved", ann.commit({"human.md": "y\n"}, "Late", expected_head="0" * 39 + "1")
    yield (
        "content moved",
        ann.commit([FileChange(path="human.md", content=b"z\n", expected_sha256="0" * 64)], "Late"),
    )
    yield "large commit", ann.commit({"large.md": LARGE}, "A large file", request_id="chosen-by-the-caller")
    yield "exists", ann.create_repo()
    yield "branch", ann.create_branch("review", start_point="draft")
    yield "branch deleted", ann.delete_branch("review")
    yield "restore", ann.restore("draft", paths=["draft.md"], author=planner)
    yield "files", ann.get_files(paths=["human.md", "picture.bin"])
    yield "large files", ann.get_files()
    yield "file", ann.get_file("run.sh")
    yield "no file", ann.get_file("nowhere.md")
    yield "listing", ann.list_files(limit=3)
    yield "history", ann.get_history(limit=10)
    yield "path history", ann.get_history("human.md")
    yield "head", ann.get_head_sha()
    yield "no ref", ann.get_head_sha("nowhere")
    yield "diff", ann.diff("draft", "main", paths=["human.md", "notes", "draft.md"])
    yield "branches", ann.list_branches()
    yield "found", ann.find_request("chosen-by-the-caller")
    yield "not found", ann.find_request("nobody-sent-this")

    bob = repos.repo(org_id="acme", agent_id="bob")
    yield "bob begins", bob.commit({"a.md": "a\n"}, "Begin", create_repo_if_missing=True)
    yield "bob deleted", bob.delete_repo()
    yield "bob again", bob.create_repo({"b.md": "b\n"})
    yield "no repo", repos.repo(org_id="acme", agent_id="carl").get_files()


def queued(server: Valkey) -> list[dict[str, str]]:
    """Return what lies in the shard queues, oldest first in each."""
    with server.client() as client:
        names = sorted(client.scan_iter("memrepo.[0-9]*"))
        return [{"queue": name, "message": raw} for name in names for raw in client.lrange(name, 0, -1)[::-1]]


def payloads(server: Valkey) -> dict[str, dict[str, str]]:
    """Return the payloads beside messages or records: key to number to chunk, in base64."""
    with server.raw_client() as client:
        return {
            key.decode(): {
                number.decode(): base64.b64encode(chunk).decode()
                for number, chunk in client.hgetall(key).items()
            }
            for key in sorted(client.scan_iter("memrepo:body:*"))
        }


def records(server: Valkey) -> dict[str, str]:
    """Return every task's record, as it is stored."""
    with server.client() as client:
        return {key: client.get(key) for key in sorted(client.scan_iter("celery-task-meta-*"))}


def record(target: Path) -> None:
    """Write everything to a folder."""
    target.mkdir(parents=True)
    with (
        tempfile.TemporaryDirectory() as scratch,
        valkey(Path(scratch) / "valkey") as server,
        MemoryRepos(broker_url=server.url) as repos,
    ):
        jobs = dict(ask_everything(repos))
        cancelled = repos.repo(org_id="acme", agent_id="dora").create_repo()
        cancelled.cancel()
        found: dict[str, object] = {"queues": queued(server), "request_payloads": payloads(server)}
        env = {
            **os.environ,
            "MEMREPO_BROKER_URL": server.url,
            "MEMREPO_STORE_URL": (target / "store").absolute().as_uri(),
            "MEMREPO_CACHE_DIR": f"{scratch}/cache",
        }
        found["served_at"] = time.time()
        worker = [sys.executable, "-m", "memrepo_worker", "worker"]
        with started(worker, folder=Path(scratch), ready=lambda: True, env=env):
            repos.wait(list(jobs.values()), timeout_s=60)
        found |= {"records": records(server), "result_payloads": payloads(server)}
        found["jobs"] = {name: job.id for name, job in jobs.items()} | {"cancelled": cancelled.id}
    _keep_journals_alone(target / "store")
    (target / "recorded.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def _keep_journals_alone(store: Path) -> None:
    """Remove what the folder store keeps beside the memories: locks, temporary files and its probe."""
    for path in store.iterdir():
        if path.is_dir() and path.name != "acme":
            shutil.rmtree(path)
        elif path.is_file():
            path.unlink()


if __name__ == "__main__":
    record(Path(sys.argv[1]))
