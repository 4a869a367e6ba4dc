"""Merges of random branches, against ``git merge -s recursive -X no-renames`` in a work tree: trees and conflicts."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pygit2
import pytest

from memrepo_worker.git.edits import FileEdit, TreeEditor
from memrepo_worker.git.merging.bases import is_ancestor, merge_bases
from memrepo_worker.git.merging.contents import ContentMerger, Favor, MergeBudget
from memrepo_worker.git.merging.recursive import MergeBase
from memrepo_worker.git.merging.trees import Merged, merge_trees
from memrepo_worker.git.objects import (
    Commit,
    GitObject,
    Ident,
    encode_commit,
    object_id,
)
from memrepo_worker.git.reader import ObjectMap, Reader
from memrepo_worker.git.walk import differences
from tests.support.plain_git import plain_git as git

LONG = os.environ.get("LONG") == "1"
PAIRS = 2_000 if LONG else 60
PATHS = ["a", "b.md", "c/x", "c/y", "c/d/z", "e", "f/a", "g"]
LINES = [f"line {number}\n".encode() for number in range(12)]
Files = Mapping[str, tuple[bytes, bool]]

pytestmark = pytest.mark.timeout(0 if LONG else 120)


class History:
    """Commits, in memory and in a scratch repository of stock git."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        git_init(folder)
        self.repo = pygit2.Repository(str(folder))
        self.objects: dict[str, GitObject] = {}
        self.reader = Reader(ObjectMap(self.objects))
        self.files: dict[str, Files] = {}
        self._time_s = 1_000_000

    def commit(self, files: Files, *parents: str) -> str:
        editor = TreeEditor(self.reader)
        tree = editor.apply(None, [FileEdit(path, data, mode) for path, (data, mode) in files.items()])
        self._time_s += 1
        who = Ident("Ann", "ann@example.org", self._time_s)
        item = encode_commit(Commit(tree, parents, who, who, "m\n"))
        sha = object_id(item)
        for one in (*editor.objects.values(), item):
            self.objects[object_id(one)] = one
            self.repo.odb.write(one.kind.value, one.data)
        self.files[sha] = files
        return sha

    def tree_of(self, sha: str) -> str:
        return self.reader.commit(sha).tree


def git_init(folder: Path) -> None:
    folder.mkdir()
    git(folder, "init", "-q", ".")
    git(folder, "config", "user.name", "Ann")
    git(folder, "config", "user.email", "ann@example.org")
    git(folder, "config", "core.fsync", "none")


def edited(files: Files, rnd: random.Random) -> Files:
    """Some edits, moves, modes, binary contents, deletes, and files where folders were."""
    now = dict(files)
    for _ in range(rnd.randrange(1, 5)):
        path = rnd.choice(sorted(now)) if now and rnd.random() < 0.8 else rnd.choice(PATHS)
        data, mode = now.get(path, (b"", False))
        match rnd.randrange(9):
            case 0 | 1 | 2 | 3:
                put(now, path, (edited_lines(data, rnd), mode))
            case 4:
                now.pop(path, None)
            case 5:
                put(now, path, (data, not mode))
            case 6:
                put(now, path, (b"\0" + bytes([rnd.randrange(4)]), mode))
            case 7:
                moved = now.pop(path, (b"new\n", mode))
                put(now, rnd.choice(PATHS), moved)
            case _:
                put(now, f"{path}/in", (rnd.choice(LINES), mode))
    return now or {"a": (b"a\n", False)}


def put(files: dict[str, tuple[bytes, bool]], path: str, value: tuple[bytes, bool]) -> None:
    """Write a file, in the place of what is in its way."""
    for other in list(files):
        if other.startswith(f"{path}/") or path.startswith(f"{other}/"):
            del files[other]
    files[path] = value


def edited_lines(data: bytes, rnd: random.Random) -> bytes:
    lines = data.splitlines(keepends=True) or list(LINES)
    place = rnd.randrange(len(lines))
    new = f"{rnd.randrange(5)}\n".encode()
    match rnd.randrange(4):
        case 0:
            lines[place : place + 1] = [new]
        case 1:
            lines.insert(place, new)
        case 2:
            lines.append(new if rnd.random() < 0.8 else new.strip())
        case _:
            del lines[place : place + rnd.randrange(1, 4)]
    return b"".join(lines)


def beginning(rnd: random.Random) -> Files:
    files: dict[str, tuple[bytes, bool]] = {}
    for path in PATHS:
        if rnd.random() < 0.7:
            put(files, path, (b"".join(rnd.sample(LINES, rnd.randrange(1, 12))), rnd.random() < 0.2))
    return files or {"a": (b"a\n", False)}


def branches(history: History, rnd: random.Random) -> tuple[str, str]:
    """Two commits: of one history, after a criss-cross merge, or with nothing in common."""
    files = beginning(rnd)
    base = history.commit(files)
    if rnd.random() < 0.03:
        return base, history.commit(beginning(rnd))
    ours = history.commit(edited(files, rnd), base)
    theirs = history.commit(edited(files, rnd), base)
    if rnd.random() < 0.25:
        ours, theirs = (
            history.commit(edited(history.files[rnd.choice((ours, theirs))], rnd), one, other)
            for one, other in ((ours, theirs), (theirs, ours))
        )
    return tuple(history.commit(edited(history.files[sha], rnd), sha) for sha in (ours, theirs))  # type: ignore[return-value]


def ours_of(history: History, ours: str, theirs: str, favor: Favor) -> Merged:
    base = MergeBase(history.reader, merge_bases(history.reader, (ours,), (theirs,)), MergeBudget())
    return merge_trees(
        base.reader, base.tree, history.tree_of(ours), history.tree_of(theirs), ContentMerger(favor)
    )


def applied(history: History, ours: str, merged: Merged) -> tuple[str, dict[str, str]]:
    """The tree of a merge, conflicts left as ours has them, and what is at each path that does not conflict."""
    editor = TreeEditor(history.reader)
    below = {conflict.path for conflict in merged.conflicts}
    edits = [
        edit for path, edit in merged.edits.items() if not any(path.startswith(f"{one}/") for one in below)
    ]
    tree = editor.apply(history.tree_of(ours), edits)
    reader = history.reader.layered(ObjectMap(editor.objects))
    at = {
        delta.path: f"{delta.new.mode} {delta.new.sha}"
        for delta in differences(reader, None, tree)
        if delta.new is not None and delta.path not in below
    }
    for path, edit in merged.edits.items():
        if edit.entry is not None:
            at[path] = f"{edit.entry.mode} {edit.entry.sha}"
    return tree, at


def stock_merge(
    history: History, ours: str, theirs: str, *options: str
) -> tuple[str | None, set[str], dict[str, str]]:
    """What git makes of it: the tree if there is one, the paths that conflict, and what is at each that does not."""
    git(history.folder, "checkout", "-q", "-f", "--detach", ours)
    git(history.folder, "clean", "-q", "-f", "-d", "-x")
    merge = ("merge", "-q", "--no-ff", "--allow-unrelated-histories", "-s", "recursive", "-X", "no-renames")
    git(history.folder, *merge, *options, "-m", "m", theirs, fine=False)
    conflicts, clean = set(), {}
    for line in git(history.folder, "ls-files", "-s", "-z").decode().split("\0")[:-1]:
        about, _, path = line.partition("\t")
        mode, sha, stage = about.split()
        if stage == "0":
            clean[path] = f"{mode} {sha}"
        else:
            conflicts.add(path)
    tree = None if conflicts else git(history.folder, "rev-parse", "HEAD^{tree}").decode().strip()
    return tree, conflicts, clean


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    return History(tmp_path_factory.mktemp("merges") / "scratch")


FAVORS = {Favor.NOBODY: (), Favor.OURS: ("-X", "ours"), Favor.THEIRS: ("-X", "theirs")}


def test_random_merges_have_the_tree_and_the_conflicts_of_stock_gits(history: History) -> None:
    rnd = random.Random(15)
    met: Counter[str] = Counter()
    for number in range(PAIRS):
        ours, theirs = branches(history, rnd)
        bases = git(history.folder, "merge-base", "--all", ours, theirs, fine=False).decode().split()
        assert sorted(bases) == sorted(merge_bases(history.reader, (ours,), (theirs,)))
        assert is_ancestor(history.reader, ours, theirs) == (ours in bases)
        favor = rnd.choice(list(FAVORS)) if number % 3 == 0 else Favor.NOBODY
        merged = ours_of(history, ours, theirs, favor)
        tree, at = applied(history, ours, merged)
        stock_tree, conflicts, clean = stock_merge(history, ours, theirs, *FAVORS[favor])

        found = {conflict.path for conflict in merged.conflicts}
        assert found == conflicts, (number, ours, theirs, bases, favor, merged.conflicts)
        assert {path: at.get(path) for path in clean} == clean, (number, ours, theirs)
        if stock_tree is not None:
            assert tree == stock_tree, (number, ours, theirs)
        met[f"{len(bases)} bases"] += 1
        met.update(conflict.kind for conflict in merged.conflicts)
        met["clean"] += not merged.conflicts

    print(dict(met))
    assert all(met[kind] for kind in ("clean", "content", "deleted", "1 bases", "2 bases"))


def test_a_binary_file_in_the_base_of_a_criss_cross_merge_is_what_it_is_for_stock_git(
    history: History,
) -> None:
    text, binary = b"".join(LINES), b"\0\2"
    for before, one, other, last in [
        ({}, {"a": (binary, False)}, {"a": (text, False)}, ({"a": (b"1\n", False)}, {})),
        (
            {"a": (text, True)},
            {"a": (text + b"2\n", True)},
            {"a": (binary, False)},
            ({"a": (text + b"2\n", True)}, {"a": (binary, False)}),
        ),
    ]:
        kept = {"kept": (b"k", False)}
        base = history.commit({**kept, **before})
        left, right = history.commit({**kept, **one}, base), history.commit({**kept, **other}, base)
        ours = history.commit({**kept, **last[0]}, left, right)
        theirs = history.commit({**kept, **last[1]}, right, left)
        for favor, options in FAVORS.items():
            merged = ours_of(history, ours, theirs, favor)
            stock_tree, conflicts, _ = stock_merge(history, ours, theirs, *options)

            assert {conflict.path for conflict in merged.conflicts} == conflicts
            if stock_tree is not None:
                assert applied(history, ours, merged)[0] == stock_tree
