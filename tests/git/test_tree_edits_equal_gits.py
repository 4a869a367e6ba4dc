"""Edits of trees, against stock git's index."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import pytest

from memrepo_worker.git.edits import FileEdit, TreeConflictError, TreeEditor
from memrepo_worker.git.objects import (
    MODE_FILE,
    MODE_TREE,
    GitObject,
    TreeEntry,
    decode_tree,
    encode_tree,
    encode_tree_line,
)
from memrepo_worker.git.reader import ObjectMap, Reader
from memrepo_worker.git.trees import stored
from memrepo_worker.git.walk import differences, files
from tests.support.jobs import present
from tests.support.stock_git import empty_repository, git


@pytest.fixture(autouse=True, params=["decoded", "as stored"])
def how_trees_are_kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that holds for small folders holds for large ones, whose trees are not decoded."""
    if request.param == "as stored":
        monkeypatch.setattr(stored, "LARGE_BYTES", 0)


NAMES = ["a", "b", "a.b", "a-b", "B c", "é", "zz", "a0"]


class Memory:
    """A tree, edited again and again in memory."""

    def __init__(self) -> None:
        self.objects: dict[str, GitObject] = {}
        self.reader = Reader(ObjectMap(self.objects))
        self.root: str | None = None

    def edit(self, *edits: FileEdit) -> str:
        editor = TreeEditor(self.reader)
        self.root = editor.apply(self.root, edits)
        self.objects.update(editor.objects)
        return self.root

    def paths(self) -> list[str]:
        return [path for path, _ in files(self.reader, present(self.root))]


def write(path: str, data: bytes = b"x", executable: bool | None = None) -> FileEdit:
    return FileEdit(path, data, executable)


def delete(path: str) -> FileEdit:
    return FileEdit(path, None)


def stock_tree(repo: Path, contents: Mapping[str, tuple[str, bytes]]) -> str:
    """The tree that stock git writes of these files: path -> (mode, data)."""
    git(repo, "read-tree", "--empty")
    lines = []
    for path, (mode, data) in contents.items():
        sha = git(repo, "hash-object", "-w", "--stdin", stdin=data).decode().strip()
        lines.append(f"{mode} {sha}\t{path}\0")
    git(repo, "update-index", "-z", "--index-info", stdin="".join(lines).encode())
    return git(repo, "write-tree").decode().strip()


def test_trees_after_random_edits_equal_stock_gits(tmp_path: Path) -> None:
    rnd = random.Random(3)
    repo = empty_repository(tmp_path / "repo.git")
    memory = Memory()
    contents: dict[str, bytes] = {}
    for step in range(40):
        edits = {}
        for _ in range(rnd.randrange(1, 6)):
            path = "/".join(rnd.choice(NAMES) for _ in range(rnd.randrange(1, 4)))
            edits[path] = None if rnd.random() < 0.4 else f"{step}".encode()
        try:
            root = memory.edit(*(FileEdit(path, data, rnd.random() < 0.3) for path, data in edits.items()))
        except TreeConflictError:
            continue
        modes = {path: entry.mode for path, entry in files(memory.reader, root)}
        for path, data in edits.items():
            if data is None:
                contents.pop(path, None)
            else:
                contents[path] = data
        expected = {path: (modes[path], data) for path, data in contents.items()}
        assert root == stock_tree(repo, expected), f"after step {step}"
    assert len(contents) > 5


def test_deleting_what_is_absent_changes_nothing() -> None:
    memory = Memory()
    before = memory.edit(write("a/b"))

    assert memory.edit(delete("a/c"), delete("nothing/here"), delete("a"), delete("a/b/c")) == before


def test_writing_the_same_content_changes_nothing() -> None:
    memory = Memory()
    before = memory.edit(write("a", b"same"))

    assert memory.edit(write("a", b"same")) == before


def test_the_last_file_of_a_folder_takes_the_folder_with_it() -> None:
    memory = Memory()
    memory.edit(write("keep"), write("deep/er/file"))

    memory.edit(delete("deep/er/file"))

    assert memory.paths() == ["keep"]


def test_executable_none_keeps_the_mode_and_true_or_false_set_it() -> None:
    memory = Memory()
    memory.edit(write("run", b"1", executable=True))

    def executable() -> bool:
        return dict(files(memory.reader, present(memory.root)))["run"].executable

    memory.edit(write("run", b"2"))
    assert executable()
    memory.edit(write("run", b"3", executable=False))
    assert not executable()


def test_a_deleted_file_makes_room_for_a_folder_of_its_name_in_one_step() -> None:
    memory = Memory()
    memory.edit(write("notes"))

    memory.edit(write("notes/today"), delete("notes"))

    assert memory.paths() == ["notes/today"]


def test_an_emptied_folder_makes_room_for_a_file_of_its_name_in_one_step() -> None:
    memory = Memory()
    memory.edit(write("notes/today"))

    memory.edit(delete("notes/today"), write("notes"))

    assert memory.paths() == ["notes"]


@pytest.mark.parametrize(
    ("there", "edit", "path"),
    [
        ("notes", "notes/today", "notes"),
        ("notes/today", "notes", "notes"),
        ("Notes", "notes", "notes"),
        ("deep/Notes", "deep/notes", "deep/notes"),
        ("Deep/notes", "deep/notes", "deep"),
    ],
)
def test_an_edit_that_some_file_system_could_not_hold_is_a_conflict(there: str, edit: str, path: str) -> None:
    memory = Memory()
    memory.edit(write(there))

    with pytest.raises(TreeConflictError) as conflict:
        memory.edit(write(edit))

    assert conflict.value.path == path


def test_renaming_only_the_case_of_a_file_is_no_conflict() -> None:
    memory = Memory()
    memory.edit(write("Notes"))

    memory.edit(delete("Notes"), write("notes"))

    assert memory.paths() == ["notes"]


def test_the_differences_of_two_trees_are_those_that_stock_git_lists(tmp_path: Path) -> None:
    memory = Memory()
    old = memory.edit(write("a/b"), write("a/c"), write("d"), write("e/f/g"))
    new = memory.edit(write("a/b", b"y"), delete("a/c"), delete("d"), write("d/h"), write("e/f/i"))
    repo = empty_repository(tmp_path / "repo.git")
    for item in memory.objects.values():
        git(repo, "hash-object", "-w", "-t", item.kind.word, "--stdin", stdin=item.data)

    listed = git(repo, "diff-tree", "-r", "--name-only", "--no-renames", old, new).decode().split()

    assert sorted(delta.path for delta in differences(memory.reader, old, new)) == sorted(listed)


def test_a_tree_after_many_changes_is_the_one_that_its_entries_make() -> None:
    rnd = random.Random(5)
    tree: Mapping[str, TreeEntry] = decode_tree(b"")
    for step in range(400):
        changes = {
            rnd.choice(NAMES): rnd.choice([None, TreeEntry(MODE_TREE, sha), TreeEntry(MODE_FILE, sha)])
            for sha in (f"{step:040x}", f"{step:039x}f")
        }
        expected = {name: entry for name, entry in {**tree, **changes}.items() if entry is not None}
        before = dict(tree)

        made, tree_after = stored.changed(tree, changes)

        assert made == encode_tree(expected)
        assert list(tree_after.items()) == list(decode_tree(made.data).items())
        assert {name: (left, right) for name, left, right in stored.differing(tree, tree_after)} == {
            name: (before.get(name), expected.get(name))
            for name in before.keys() | expected.keys()
            if before.get(name) != expected.get(name)
        }
        assert dict(tree) == before
        tree = tree_after


def test_a_tree_that_is_not_in_gits_order_is_after_a_change() -> None:
    lines = [
        encode_tree_line(name, TreeEntry(MODE_FILE, f"{number:040x}")) for number, name in enumerate("cab")
    ]
    _, entries = stored.changed(decode_tree(b"".join(lines)), {"b": TreeEntry(MODE_FILE, "f" * 40)})
    assert list(entries) == ["a", "b", "c"]
