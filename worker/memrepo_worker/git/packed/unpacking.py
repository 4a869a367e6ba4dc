"""Taking a pack apart into objects that lie one by one for a moment: in it each may be there any number of times."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from memrepo_worker.git.command import Git, GitError, GitOverBoundsError, ObjectFolder
from memrepo_worker.git.pack_sizes import PackTooLargeError, check_unpacked
from memrepo_worker.git.packs import join_packs_in_steps, joined_size, let_go, object_count
from memrepo_worker.processes import Fed

_FILE_BYTES = 4096
"""What an object takes there at least: a file has a block of its own."""


@contextmanager
def unpacking_folder(folder: Path, *, builds_on: Path | None = None) -> Iterator[Path]:
    """Make a place for objects, in place of whatever is there, and remove it in the end.

    What is in ``builds_on``, a place like it, is found there, and is not written once more.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("pack", "info"):
        (folder / name).mkdir(mode=0o700, parents=True)
    if builds_on is not None:
        (folder / "info/alternates").write_text(f"{builds_on.absolute()}\n")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def unpack(
    git: Git, packs: Sequence[bytes | memoryview], folder: Path, unpacked_bytes_max: int
) -> str | None:
    """Make one pack, in an unpacking folder, of the objects in some packs that are not there yet.

    Returns its checksum; None where all of them are there.

    Raises:
        GitOverBoundsError: they take more than ``unpacked_bytes_max``, or more than the caps of ``git`` allow.
        GitTroubleError: the machine does not let it.
        GitError: git finds fault with one of them, or does not find what its deltas are made from.
    """
    try:
        left = unpacked_bytes_max - sum(map(object_count, packs)) * _FILE_BYTES
        for pack in packs:
            left -= check_unpacked(pack, max(0, left), max(0, left), git.caps.allocation_bytes_max)
            let_go(pack)
    except PackTooLargeError as error:
        raise GitOverBoundsError(str(error)) from error
    except ValueError as error:
        raise GitError(str(error)) from error
    git.run(
        ["-c", "core.looseCompression=0", "unpack-objects", "-q"],
        repo=ObjectFolder(folder),
        stdin=Fed(join_packs_in_steps(packs), joined_size(packs)),
    )
    return pack_into(git, ObjectFolder(folder), folder, _loose(folder))


def pack_into(git: Git, place: ObjectFolder, folder: Path, shas: Iterable[str]) -> str | None:
    """Make one pack, in an unpacking folder, of objects that are in ``place``; none where there are none.

    Returns its checksum.

    Raises:
        GitError: as ``unpack``.
    """
    wanted = "".join(f"{sha}\n" for sha in sorted(shas)).encode()
    if not wanted:
        return None
    arguments = ["-c", "pack.compression=1", "pack-objects", "--quiet", "--window=0"]
    made = git.run([*arguments, str((folder / "pack/pack").absolute())], repo=place, stdin=wanted)
    return made.decode().split()[-1]


def _loose(folder: Path) -> list[str]:
    return [path.parent.name + path.name for path in folder.glob("[0-9a-f][0-9a-f]/*")]
