"""The largest commit and read that are allowed, and what each process may take for them (see docs/operations.md)."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from memrepo import MemoryRepos
from memrepo.limits import MIB
from memrepo.settings import environment
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes
from tests.support.systems import running_worker
from tests.support.valkey import valkey

CONTENT = 32 * MIB
PRODUCER_MAX, WORKER_MAX, BROKER_MAX = 5 * CONTENT, 6 * CONTENT, CONTENT + 16 * MIB

PRODUCER = """
import json, re, sys
from pathlib import Path
from random import Random
from memrepo import MemoryRepos

def peak():
    return int(re.findall(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[0]) * 1024

with MemoryRepos.from_env() as repos:
    repo = repos.repo(org_id="acme", agent_id="large")
    repo.create_repo().result(timeout_s=30)
    before = peak()
    files = {f"{number}.bin": Random(number).randbytes(32 * 1024**2 // 4 - 100) for number in range(4)}
    repo.commit(files, "as large as it may be").result(timeout_s=60)
    read = repo.get_files(paths=list(files)).result(timeout_s=60)
    assert {path: file.data for path, file in read.items()} == files
    print(json.dumps(peak() - before))
"""


def peak_of(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024


def test_32_mib_are_committed_and_read_within_the_memory_that_is_stated(tmp_path: Path) -> None:
    with (
        valkey(tmp_path / "valkey") as broker,
        running_worker(tmp_path / "worker", broker, f"file://{tmp_path / 'store'}") as system,
        broker.client() as client,
    ):
        before = peak_of(system.worker_pid)
        env = {"PATH": environment()["PATH"], "MEMREPO_BROKER_URL": broker.url}
        said = Processes(Counters()).run([sys.executable, "-c", PRODUCER], env=env, timeout_s=100)
        taken = {
            "producer": json.loads(said),
            "worker": peak_of(system.worker_pid) - before,
            "broker": int(client.info("memory")["used_memory_peak"]),
        }

    allowed = {"producer": PRODUCER_MAX, "worker": WORKER_MAX, "broker": BROKER_MAX}
    over = {part: (taken[part] // MIB, allowed[part] // MIB) for part in taken if taken[part] > allowed[part]}
    assert over == {}, taken


def test_many_large_reads_that_wait_together_take_no_more_memory_than_a_few(tmp_path: Path) -> None:
    """They share a turn; all their results at once would be 512 MiB."""
    text = "a line of sixteen\n" * (4 * MIB // 18)
    with (
        valkey(tmp_path / "valkey") as broker,
        running_worker(tmp_path / "worker", broker, f"file://{tmp_path / 'store'}") as system,
        MemoryRepos(broker_url=broker.url) as repos,
    ):
        repo = repos.repo(org_id="acme", agent_id="large")
        repo.create_repo({f"{number}.md": text for number in range(4)}).result(timeout_s=60)
        before = peak_of(system.worker_pid)
        jobs = [repo.get_files() for _ in range(32)]
        sizes = {sum(file.size for file in job.result(timeout_s=120).values()) for job in jobs}
        taken = peak_of(system.worker_pid) - before

    assert sizes == {4 * len(text)}
    assert taken < 192 * MIB, taken // MIB


def test_a_thousand_files_are_one_commit_and_one_read(memories: MemoryRepos) -> None:
    repo = memories.repo(org_id="acme", agent_id="many-files")
    files = {f"folder-{number % 30}/{number}.md": f"file {number}\n" * 100 for number in range(1000)}

    result = repo.commit(dict(files), "a thousand files", create_repo_if_missing=True).result(timeout_s=60)

    assert len(result.files_changed) == 1000
    read = repo.get_files().result(timeout_s=60)
    assert {path: file.text for path, file in read.items()} == files
    page = repo.list_files("folder-7/", limit=5, after="folder-7/100.md").result(timeout_s=30)
    assert len(page) == 5
    assert all(file.path.startswith("folder-7/") for file in page)
