"""Verifying a segment alone, by stock git: that it lacks nothing but what its prerequisites have.

So it takes the segment's size, and that of a listing of the files at its prerequisites; never that of the memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from memrepo_worker.git.command import Git, ObjectFolder
from memrepo_worker.git.objects import Kind
from memrepo_worker.git.packed.directory import PackDirectory
from memrepo_worker.git.packs import TRAILER_BYTES
from memrepo_worker.git.reader import Reader
from memrepo_worker.upkeep.pack_ids import PackIds
from memrepo_worker.upkeep.part_files import Part


def require_whole_on(git: Git, part: Part, place: Path, warm: ObjectFolder, *, is_thin: bool = False) -> None:
    """Have git read a base or segment, alone in its file, into the empty ``place``, and look where all leads to in it.

    ``warm`` are the objects of a repository that has what the segment builds on; of one that ``is_thin`` objects may
    be there as what differs from one of a prerequisite's. Also commits that no ref reaches are looked at: somebody may
    begin there.

    Raises:
        ValueError: it lacks an object.
        GitError: git finds fault with one that it has.
    """
    ids = _ids_of(git, part, place, warm.path if is_thin else None)
    tips, shallow = place / "tips", place / "shallow"
    outside = _write_tips(PackDirectory(place / "objects", proven=True), ids, tips, shallow)
    if lacking := outside - set(part.head.prerequisites):
        raise ValueError(f"{min(lacking)} is needed, and is no prerequisite")
    if part.head.ledger_sha not in ids:
        raise ValueError(f"{part.head.ledger_sha}, its ledger, is needed")
    walk = ["rev-list", "--objects", "--missing=print", "--stdin"]
    lines = _lines_of(git, walk, ObjectFolder(place / "objects", shallow), tips, place / "reached")
    missing = {line[1:41] for line in lines if line.startswith(b"?")} | {sha.encode() for sha in ids.added()}
    _require_at(git, part.head.prerequisites, missing, place, warm)
    _require_there(git, part.head.named - {part.head.ledger_sha, *part.head.prerequisites}, ids, warm)


def _ids_of(git: Git, part: Part, place: Path, completed_from: Path | None) -> PackIds:
    """Have git take the pack in, completed by what its deltas are made from, and return which objects it has itself."""
    alternates = place / "objects/info/alternates"
    if completed_from is not None:
        alternates.write_text(f"{completed_from.absolute()}\n")
    with part.pack.path.open("rb") as file:
        file.seek(part.pack.start)
        name = git.index_sound_pack(place, file)
    alternates.unlink(missing_ok=True)
    ids = PackIds()
    index = place / "objects/pack" / f"pack-{name}.idx"
    ids.add(index, part.pack.count, part.pack.size - TRAILER_BYTES)
    return ids


def _write_tips(packs: PackDirectory, ids: PackIds, tips: Path, shallow: Path) -> set[str]:
    """Write where a walk has to begin, and at which commits it ends; return the parents that are not there."""
    reader = Reader(packs)
    lacking: set[str] = set()
    with tips.open("w") as beginnings, shallow.open("w") as ends:
        for sha in ids:
            kind, _ = reader.must(sha)
            if kind in (Kind.COMMIT, Kind.TAG):
                beginnings.write(f"{sha}\n")
            if kind is Kind.COMMIT and (
                outside := {each for each in reader.commit(sha).parents if each not in ids}
            ):
                ends.write(f"{sha}\n")
                lacking |= outside
    return lacking


def _require_at(
    git: Git, commits: Sequence[str], missing: set[bytes], place: Path, warm: ObjectFolder
) -> None:
    """Raise unless these commits are there, and what is missing is among the files and folders at them."""
    if commits:
        wanted = place / "prerequisites"
        wanted.write_text("".join(f"{sha}\n" for sha in commits))
        walk = ["rev-list", *(["--objects"] if missing else []), "--no-walk", "--stdin"]
        for line in _lines_of(git, walk, warm, wanted, place / "at"):
            missing.discard(line[:40])
    if missing:
        raise ValueError(f"{min(missing).decode()} is needed, and is in no entry")


def _require_there(git: Git, wanted: set[str], ids: PackIds, warm: ObjectFolder) -> None:
    """Raise unless each is in the segment, or in the warm repository."""
    elsewhere = [sha for sha in wanted if sha not in ids]
    if not elsewhere:
        return
    asked = "".join(f"{sha}\n" for sha in elsewhere).encode()
    for line in git.run(["cat-file", "--batch-check"], repo=warm, stdin=asked).decode().splitlines():
        if line.endswith(" missing"):
            raise ValueError(f"{line.removesuffix(' missing')} is needed, and is in no entry")


def _lines_of(
    git: Git, arguments: Sequence[str], repo: ObjectFolder, stdin: Path, output: Path
) -> Iterator[bytes]:
    """Have git read one file and write another, and yield what it has written, line by line."""
    with stdin.open("rb") as asked, output.open("wb") as told:
        git.run(arguments, repo=repo, stdin=asked, stdout=told)
    with output.open("rb") as lines:
        yield from lines
    output.unlink()
