"""Verifying a segment alone, by stock git: that it lacks nothing but what its prerequisites have.

So it takes the segment's size, and that of a listing of the files at its prerequisites; never that of the memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from memrepo_worker.git.command import Git, ObjectFolder
from memrepo_worker.git.reader import PackDirectory, Reader
from memrepo_worker.journal.entry import Entry


def require_whole_on(git: Git, part: Entry, place: Path, warm: ObjectFolder) -> None:
    """Have git read a base or segment into the empty ``place``, and look where all leads to that it holds.

    ``warm`` are the objects of a repository that has what the segment builds on. Also commits that no ref reaches are
    looked at: somebody may begin there.

    Raises:
        ValueError: it lacks an object.
        GitError: git finds fault with one that it has.
    """
    git.index_sound_pack(place, part.pack)
    kinds = _kinds(git, place)
    commits = [sha for sha, kind in kinds.items() if kind == "commit"]
    reader = Reader(PackDirectory(place / "objects"))
    outside = {sha: set(reader.commit(sha).parents) - kinds.keys() for sha in commits}
    parents: set[str] = set().union(*outside.values())
    if lacking := parents - set(part.prerequisites):
        raise ValueError(f"{min(lacking)} is needed, and is no prerequisite")
    shallow = place / "shallow"
    shallow.write_text("".join(f"{sha}\n" for sha, missing in outside.items() if missing))
    objects = ObjectFolder(place / "objects", shallow)
    tips = [*commits, *(sha for sha, kind in kinds.items() if kind == "tag"), part.ledger_sha]
    walk = ["rev-list", "--objects", "--missing=print", "--stdin"]
    listed = git.run(walk, repo=objects, stdin=_lines(tips)).splitlines()
    missing = {line[1:].decode() for line in listed if line.startswith(b"?")}
    if lacking := missing - _at(git, part.prerequisites, warm):
        raise ValueError(f"{min(lacking)} is needed, and is in no entry")
    _require_there(git, {*part.refs.values(), *part.prerequisites} - kinds.keys(), warm)


def _kinds(git: Git, place: Path) -> dict[str, str]:
    """Return the kind of each object that is there."""
    check = ["cat-file", "--batch-all-objects", "--batch-check=%(objectname) %(objecttype)"]
    listed = git.run(check, repo=ObjectFolder(place / "objects")).decode()
    return dict(line.split(" ", 1) for line in listed.splitlines())


def _at(git: Git, commits: Sequence[str], warm: ObjectFolder) -> set[str]:
    """Return the ids of the files and folders at these commits."""
    if not commits:
        return set()
    listed = git.run(["rev-list", "--objects", "--no-walk", "--stdin"], repo=warm, stdin=_lines(commits))
    return {line[:40].decode() for line in listed.splitlines()}


def _require_there(git: Git, wanted: set[str], warm: ObjectFolder) -> None:
    listed = git.run(["cat-file", "--batch-check"], repo=warm, stdin=_lines(wanted)).decode()
    for line in listed.splitlines():
        if line.endswith(" missing"):
            raise ValueError(f"{line.removesuffix(' missing')} is needed, and is in no entry")


def _lines(ids: Iterable[str]) -> bytes:
    return "".join(f"{sha}\n" for sha in ids).encode()
