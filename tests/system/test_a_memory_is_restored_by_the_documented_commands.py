from __future__ import annotations

import re
from pathlib import Path

import pytest

from memrepo import MemoryRepo, MemoryRepos
from memrepo.settings import environment
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes, ProcessFailedError
from tests.support.stock_git import git
from tests.support.systems import System

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "format.md"


@pytest.fixture
def memory(memories: MemoryRepos) -> MemoryRepo:
    """The agent that the document takes as its example, with a life behind it."""
    repo = memories.repo(org_id="acme", agent_id="agent-42")
    repo.commit({"old.md": "an earlier life\n"}, "Begin", create_repo_if_missing=True)
    repo.delete_repo()
    repo.create_repo({"human.md": "likes tea\n", "notes/\N{CRESCENT MOON}.md": "night\n"})
    repo.commit({"tried.md": "an idea\n"}, "Try an idea", branch="ideas/one")
    for number in range(3):
        repo.commit({"notes.md": f"- thing {number}\n"}, f"Learn thing {number}")
    repo.commit({"notes/\N{CRESCENT MOON}.md": None}, "Forget the night")
    repo.get_head_sha().result(timeout_s=20)
    return repo


def run_the_document(system: System, home: Path) -> str:
    """Run the document's shell commands as they stand there, where its example lies."""
    assert system.store_folder is not None
    script = "\n".join(re.findall(r"^```sh\n(.*?)^```", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE))
    env = {"PATH": environment()["PATH"], "HOME": str(home)}
    where = system.store_folder.parent.parent
    return Processes(Counters()).run(["sh", "-eu", "-c", script], env=env, cwd=where, timeout_s=60).decode()


def test_stock_git_restores_the_same_head_log_and_files(
    system: System, memory: MemoryRepo, tmp_path: Path
) -> None:
    history = memory.get_history().result(timeout_s=20)

    said = run_the_document(system, tmp_path)

    restored = tmp_path / "agent-42.git"
    assert git(restored, "log", "--format=%H", "main").decode().split() == [commit.sha for commit in history]
    assert git(restored, "for-each-ref", "--format=%(refname)").decode().split() == [
        "refs/heads/ideas/one",
        "refs/heads/main",
    ]
    assert git(restored, "fsck", "--strict", "--no-dangling") == b""
    assert [line.partition(" ")[2] for line in said.splitlines()] == [commit.message for commit in history]
    assert (tmp_path / "agent-42" / "notes.md").read_text() == "- thing 2\n"
    assert not (tmp_path / "agent-42" / "old.md").exists()


def test_the_ledger_reads_as_the_document_says(system: System, memory: MemoryRepo, tmp_path: Path) -> None:
    request_id = memory.get_history(limit=1).result(timeout_s=20)[0].request_id
    run_the_document(system, tmp_path)
    assert system.store_folder is not None
    newest = sorted((system.store_folder / "acme" / "agent-42" / "repo.git" / "journal").iterdir())[-1]

    restored = tmp_path / "agent-42.git"
    git(restored, "fetch", "--quiet", str(newest), "refs/memrepo/ledger")
    line = git(restored, "cat-file", "blob", "FETCH_HEAD").decode().splitlines()[-1]

    name, digest, verdict, sha, enqueued_at = line.split(" ")
    assert (name, verdict) == (request_id, "committed")
    assert re.fullmatch("[0-9a-f]{32}", digest)
    assert sha == git(restored, "rev-parse", "main").decode().strip()
    assert re.fullmatch(r"\d+\.\d{3}", enqueued_at)


def test_the_documented_commands_stop_at_what_a_newer_version_wrote(
    system: System, memory: MemoryRepo, tmp_path: Path
) -> None:
    assert system.store_folder is not None
    memory.get_history(limit=1).result(timeout_s=20)
    journal = system.store_folder / "acme" / "agent-42" / "repo.git" / "journal"
    newest = sorted(journal.iterdir())[-1]
    next_one = newest.with_name(f"{int(newest.stem) + 1:020d}.bundle")
    sound = newest.read_bytes()

    for newer in (
        sound.replace(b"# v2 git bundle\n", b"# v3 git bundle\n@object-format=sha1\n", 1),
        sound.replace(b" refs/memrepo/ledger\n", b" refs/memrepo/later\n", 1),
    ):
        next_one.write_bytes(newer)
        with pytest.raises(ProcessFailedError, match=f"{next_one.name} was written by a newer memrepo"):
            run_the_document(system, tmp_path)
        assert not (tmp_path / "agent-42.git").exists()
    next_one.unlink()
