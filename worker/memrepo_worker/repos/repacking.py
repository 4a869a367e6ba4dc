"""Keeping the packs of a warm repository few, beside the turns of its agent.

Packs are joined in a folder of their own, from packs that never change; the repository is held only for the moment in
which the new pack takes the place of the old ones. Nobody reads them then, and the new one has a name of its own. A
process that ends at any step leaves a repository that is right: what its state does not name is removed when it is
loaded.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from memrepo_worker.git.command import Git, GitError, ObjectFolder
from memrepo_worker.git.pack_files import PackFiles, Sizes, ids_in_index, link_packs
from memrepo_worker.repos.cache import HeldRepo
from memrepo_worker.repos.warm import REPACK_FOLDER, WarmRepo

PACKS_MAX = 48
"""How many packs a warm repository may have before some are joined."""

GRAPH_ENTRIES = 64
"""After how many entries the commit graph takes in what is new."""

_FACTOR = 2

Step = Callable[[], None]
"""Called before each step: raises where the work is to end."""


@dataclass(frozen=True, slots=True)
class ToJoin:
    """Packs that are to be joined, and the folder of objects that has them, and nothing else."""

    names: tuple[str, ...]
    objects: Path


@dataclass(frozen=True, slots=True)
class Joined:
    """A pack that holds what the packs ``of`` do, in a folder of its own.

    It ``is_proven`` where every byte of it was, and what is told of the objects of those holds for its own.
    """

    path: Path
    of: tuple[str, ...]
    is_proven: bool


def is_due(repo: WarmRepo) -> bool:
    """Whether a repository has so many packs, or so much that is not in its commit graph, that work pays."""
    return len(repo.packs.files) >= PACKS_MAX or repo.on_disk.seq - repo.graph.seq >= GRAPH_ENTRIES


def to_join(packs: Mapping[str, Sizes]) -> tuple[str, ...]:
    """Return which packs to join, so that of those left each is at least twice as large as all smaller ones together.

    So each object is written again about as often as the number of packs can be doubled, and few packs are left.
    """
    by_size = sorted(packs, key=lambda name: (packs[name][0], name))
    joined, total = len(by_size), sum(packs[name][0] for name in by_size)
    while joined:
        largest = packs[by_size[joined - 1]][0]
        total -= largest
        if largest < _FACTOR * total:
            break
        joined -= 1
    return tuple(by_size[:joined])


def set_apart(repo: WarmRepo, names: tuple[str, ...]) -> ToJoin:
    """Link packs of a repository, which is held, into a folder of their own.

    Git lists the folder that it works in: in the repository's own, packs come and go meanwhile.

    Raises:
        OSError: it cannot be done now; nothing was changed.
    """
    clear(repo)
    folder = repo.path / "objects" / REPACK_FOLDER
    folder.mkdir(mode=0o700)
    try:
        link_packs(repo.path / "objects", names, folder / "objects")
    except OSError:
        clear(repo)
        raise
    return ToJoin(names, folder / "objects")


def clear(repo: WarmRepo) -> None:
    """Remove what was set apart, and what was joined of it and has no place yet: once nobody works on that any more."""
    shutil.rmtree(repo.path / "objects" / REPACK_FOLDER, ignore_errors=True)


def join(packs: ToJoin, git: Git, step: Step) -> Joined | None:
    """Join packs of a repository that may be in use meanwhile; None where that makes none that is new.

    Raises:
        GitError, OSError: it cannot be done now; nothing was changed.
    """
    step()
    place = packs.objects.with_name("joined")
    (place / "pack").mkdir(mode=0o700, parents=True)
    arguments = ["-c", "pack.compression=0", "pack-objects", "--stdin-packs", "--window=0", "--quiet"]
    listed = "".join(f"{name}.pack\n" for name in packs.names).encode()
    made = git.run(
        [*arguments, str((place / "pack" / "pack").absolute())],
        repo=ObjectFolder(packs.objects),
        stdin=listed,
    )
    step()
    name = f"pack-{made.decode().strip()}"
    if name in packs.names:
        return None
    indexes = ((packs.objects / "pack" / f"{old}.idx").read_bytes() for old in packs.names)
    old_ids = set[bytes]().union(*map(ids_in_index, indexes))
    ids = ids_in_index((place / "pack" / f"{name}.idx").read_bytes())
    if not old_ids <= ids:
        raise GitError("a joined pack lacks objects")
    return Joined(
        place / "pack" / name, packs.names, old_ids == ids and _has_no_new_deltas(place, name, packs)
    )


def _has_no_new_deltas(place: Path, name: str, packs: ToJoin) -> bool:
    """Whether each delta of a joined pack was one before; every byte of all of them is proven by that.

    Here, and not where the next request looks into it: of a memory of 10,000 commits that takes half a second.
    """
    old = PackFiles(packs.objects)
    try:
        deltas = {sha for each in packs.names for sha, _, is_delta in old.proven(each) if is_delta}
        return all(sha in deltas for sha, _, is_delta in PackFiles(place).proven(name) if is_delta)
    except ValueError:
        return False  # who looks into it is told


def exchange(held: HeldRepo, repo: WarmRepo, joined: Joined, step: Step) -> bool:
    """Have the joined pack take the place of the others; False where the repository is another one meanwhile."""
    if held.in_memory() is not repo or not joined.path.with_suffix(".idx").exists():
        return False
    if not set(joined.of) <= repo.packs.files.keys():
        return False
    lags = False
    try:
        for suffix in (".pack", ".idx"):  # the index makes it visible
            step()
            joined.path.with_suffix(suffix).chmod(0o600)
            target = repo.path / "objects" / "pack" / joined.path.name
            joined.path.with_suffix(suffix).replace(target.with_suffix(suffix))
            lags = suffix == ".idx"
        step()
        repo.packs.replace(joined.of, joined.path.name if joined.is_proven else None)
        repo.save_anew()
        lags = False
        step()
        repo.packs.remove(joined.of)
    except BaseException:
        if lags:  # behind what is on disk: the next turn opens it from what is saved, or anew
            held.drop()
        raise
    finally:
        clear(repo)
    return True
