"""One test per line of what memrepo keeps of the system it descends from."""

from __future__ import annotations

import json

import pytest

from memrepo import FileChange, MemoryRepo
from memrepo.models import ChangeType
from tests.support.jobs import done


def test_a_leading_slash_is_stripped(repo: MemoryRepo) -> None:
    done(repo.commit({"/notes/x.md": "1"}, "slash"))

    assert done(repo.get_file("/notes/x.md")).path == "notes/x.md"
    assert "notes/x.md" in done(repo.get_files())


def test_content_none_deletes(repo: MemoryRepo) -> None:
    result = done(repo.commit({"human.md": None}, "forget"))

    assert (result.files_changed, result.deletions) == (["human.md"], 1)
    assert len(done(repo.get_files())) == 0


def test_change_type_delete_deletes(repo: MemoryRepo) -> None:
    done(repo.commit([FileChange(path="human.md", change_type="delete")], "forget"))

    assert len(done(repo.get_files())) == 0


def test_deleting_what_is_absent_is_no_error_and_not_counted(repo: MemoryRepo) -> None:
    result = done(repo.commit({"nothing.md": None, "x": "1"}, "both"))

    assert result.files_changed == ["x"]
    assert not done(repo.commit({"nothing.md": None}, "only absent")).created


@pytest.mark.parametrize("change_type", ["add", "modify"])
@pytest.mark.parametrize("path", ["human.md", "new.md"])
def test_add_and_modify_both_write(repo: MemoryRepo, change_type: ChangeType, path: str) -> None:
    done(repo.commit([FileChange(path=path, content=b"written", change_type=change_type)], "write"))

    assert done(repo.get_file(path)).text == "written"


def test_without_initial_files_the_first_commit_holds_the_configuration(nobody: MemoryRepo) -> None:
    result = done(nobody.create_repo())

    assert result.message == "Initial commit"
    file = done(nobody.get_file(".memrepo/config.json"))
    assert json.loads(file.text) == {"version": 1}
    assert len(done(nobody.get_files())) == 1


def test_history_gives_50_commits_unless_told_otherwise(repo: MemoryRepo) -> None:
    jobs = [repo.commit({"n": str(number)}, f"step {number}") for number in range(52)]
    done(jobs[-1])

    assert len(done(repo.get_history())) == 50
    assert len(done(repo.get_history(limit=1000))) == 53
