"""Having git take in many packs at once, also where an object that others follow from by delta is in several of them.

``git index-pack`` refuses such packs together, and takes each alone: an agent that writes one state of a large file
again and again makes them, and whoever may write to a bucket can make thousands. So they are parted some times, which
costs little where there are few of them; and what is still refused is unpacked, which takes an object any number of
times, and packed anew. That is three processes, for any number of packs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from memrepo_worker.git.command import Git, GitError, GitOverBoundsError, GitTroubleError, GitUsage
from memrepo_worker.git.pack_files import move_packs
from memrepo_worker.git.packed.unpacking import unpack, unpacking_folder
from memrepo_worker.git.packs import join_packs_in_steps, joined_size
from memrepo_worker.processes import Fed

UNPACKED_FOLDER = "unpacked"
"""Where objects lie one by one for a moment, below ``objects``."""

_PARTED_MAX = 16
"""How often packs are parted that git has refused together."""

_UNPACKED_BYTES_MAX = 1 << 30
"""How much may lie there unpacked; what stands for more has to be taken in some at a time."""

_UNRESOLVED = "unresolved delta"
"""What ``git index-pack`` says of a pack with deltas whose base it finds nowhere."""

Packs = Sequence[bytes | memoryview]


class UnresolvedDeltasError(GitError):
    """Pack ``number`` of those given, from 0, has deltas of objects that neither it nor what came before has."""

    def __init__(self, number: int, error: GitError) -> None:
        super().__init__(str(error))
        self.number = number


def lacks_a_base(error: GitError) -> bool:
    """Whether git has refused a pack for deltas of objects that are neither in it nor in the repository."""
    return _UNRESOLVED in str(error)


def take_in(git: Git, repo: Path, packs: Packs) -> list[str]:
    """Add the objects of these packs, in order, to a repository; of those in files no more is in memory than a piece.

    However many they are, and whatever is in them, it starts fewer than a hundred processes. Returns the checksums of
    the packs that it made: where one of these is not found afterwards, the disk has lost it.

    Raises:
        GitOverBoundsError: together they take more than the caps of ``git`` allow, or than may lie unpacked.
        GitTroubleError: the machine does not let it.
        UnresolvedDeltasError: those before it are taken in, and it builds on what they do not have.
        GitError: git finds fault with one of them.
    """
    made = list[str]()
    left: list[tuple[int, Packs]] = [(0, packs)]
    usage = git.usage or GitUsage()
    while left:
        first, some = left.pop()
        size = joined_size(some)
        if not size:
            continue
        try:
            made.append(git.index_pack(repo, Fed(join_packs_in_steps(some), size)))
        except (GitTroubleError, GitOverBoundsError):
            raise
        except GitError as error:
            if len(some) == 1:
                if lacks_a_base(error):
                    raise UnresolvedDeltasError(first, error) from error
                raise
            if usage.parted >= _PARTED_MAX:
                made += _unpack(git, repo, some)
                continue
            usage.parted += 1
            middle = len(some) // 2
            left += (first + middle, some[middle:]), (first, some[:middle])
    return made


def _unpack(git: Git, repo: Path, packs: Packs) -> list[str]:
    """Add the objects of packs by another way than ``Git.index_pack``; returns and raises as ``take_in``."""
    objects = repo / "objects"
    with unpacking_folder(objects / UNPACKED_FOLDER, builds_on=objects) as folder:
        made = unpack(git, packs, folder, _UNPACKED_BYTES_MAX)
        move_packs(folder, objects)
    return [] if made is None else [made]
