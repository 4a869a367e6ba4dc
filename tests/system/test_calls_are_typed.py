"""What type checkers say of calls: right ones pass ``mypy --strict`` as users run it, and each wrong one is found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.documents import ROOT

CACHED = f"--cache-dir={ROOT / '.mypy_cache' / 'shown'}"

RIGHT = """
from collections.abc import Mapping
from memrepo import AsyncMemoryRepos, Author, Changes, CommitResult, FileChange, Job, JobState, MemoryFile, MemoryRepo
from memrepo import MemoryRepos, Snapshot, Status

repos = MemoryRepos.from_env()
repo: MemoryRepo = repos.repo(org_id="acme", agent_id="ann")
texts: dict[str, str] = {"a": "x"}
mixed: Mapping[str, str | bytes | None] = {"a": "x", "b": b"y", "c": None}
changes: Changes = [FileChange(path="a", content="x", executable=True), FileChange(path="b", content=b"y")]
made: Job[CommitResult] = repo.commit(texts, "m")
any_kind: list[Job[object]] = [made, repo.get_files()]
repos.wait(any_kind)
repo.commit(mixed, "m", author=Author(name="Ann", email="ann@example.org", type="user", id=None))
repo.commit(changes, "m", expected_head=None, request_id="my-own-id-1")
repo.commit({"a": None}, "m")
repo.commit([FileChange(path="a", content=None, change_type="delete", expected_sha256="")], "m")
sha: str = made.result(timeout_s=1).sha
state: JobState = made.describe()
status: Status = state.status
files: Snapshot = repo.get_files(paths=("a", "b")).result()
file: MemoryFile = files["a"]
content: bytes | None = FileChange(path="a", content="x").content
head: str = repo.get_head_sha().result()
none: None = repo.delete_repo().result()
repos.wait([made, repo.get_head_sha()], timeout_s=1)


async def main() -> CommitResult:
    async with AsyncMemoryRepos.from_env() as clients:
        job = clients.repo(org_id="acme", agent_id="ann").commit({"a": "x"}, "m")
        await job.enqueued()
        await clients.wait([job])
        again: CommitResult = await job.wait(timeout_s=1)
        return await job
"""

WRONG = """
repo.commit({"a": 5}, "m")  # dict-item
repo.commit({"a": "x"}, "m", massage="m")  # call-arg
repo.commit({"a": "x"})  # call-arg
repo.commit({"a": "x"}, "m", "main")  # call-arg
repo.commit({"a": "x"}, "m", author="Ann")  # arg-type
repo.get_history(limit="10")  # arg-type
repo.commit([FileChange(path="a", content=5)], "m")  # arg-type
FileChange("a", "x")  # call-arg
FileChange(path="a", contents="x")  # call-arg
Author(name="Ann", email="a@b.c", type="robot")  # arg-type
repo.get_head_sha().result().sha  # attr-defined
wrong: int = repo.get_head_sha().result()  # assignment
repos.repo(org_id="acme")  # call-arg
"""


def check(folder: Path) -> str:
    checked = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--config-file=",
            "--show-error-codes",
            CACHED,
            "right.py",
            "wrong.py",
        ],
        cwd=folder,
        env={"MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return checked.stdout + checked.stderr


def test_right_calls_pass_and_wrong_ones_are_found(tmp_path: Path) -> None:
    (tmp_path / "right.py").write_text(RIGHT)
    (tmp_path / "wrong.py").write_text(RIGHT + WRONG)

    said = check(tmp_path)

    assert "(checked 2 source files)" in said
    assert "right.py:" not in said, said
    first = RIGHT.count("\n") + 1
    for number, line in enumerate(WRONG.splitlines()[1:], start=first + 1):
        code = line.rpartition("# ")[2]
        found = [error for error in said.splitlines() if error.startswith(f"wrong.py:{number}: error:")]
        assert found, f"not found: {line}\n{said}"
        assert any(f"[{code}]" in error for error in found), f"{line}: {found}"
