"""Many objects by one run of git, so that a history needs few processes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Protocol

from memrepo.limits import MIB
from memrepo_worker.git.command import GitError

_BATCH_BYTES_MAX = 32 * MIB


class Run(Protocol):
    """Runs git around the objects of one repository."""

    def __call__(self, arguments: Sequence[str], stdin: bytes) -> bytes:
        """Return what it writes."""
        ...


def sizes_of(run: Run, shas: Collection[str], kind: str) -> dict[str, int]:
    """Return the sizes in bytes of those of the objects that are there, and of that kind."""
    sizes = {}
    for line in run(["cat-file", "--batch-check"], _lines(shas)).decode().splitlines():
        sha, *told = line.split(" ")
        if told[0] == kind:
            sizes[sha] = int(told[1])
    return sizes


def read_objects(run: Run, sizes: Mapping[str, int], kind: str) -> Iterator[tuple[str, bytes]]:
    """Yield objects by id; ``sizes`` says how large each is.

    Raises:
        GitError: one is not there, or is not what it was.
    """
    batch: list[str] = []
    weight = 0
    for sha, size in sizes.items():
        if batch and weight + size > _BATCH_BYTES_MAX:
            yield from _read(run, batch, sizes, kind)
            batch, weight = [], 0
        batch.append(sha)
        weight += size
    yield from _read(run, batch, sizes, kind)


def _read(run: Run, shas: list[str], sizes: Mapping[str, int], kind: str) -> Iterator[tuple[str, bytes]]:
    output = run(["cat-file", "--batch"], _lines(shas)) if shas else b""
    position = 0
    for sha in shas:
        head = f"{sha} {kind} {sizes[sha]}\n".encode()
        start = position + len(head)
        position = start + sizes[sha] + 1  # a line break follows
        if not output.startswith(head, start - len(head)) or len(output) < position:
            raise GitError(f"{kind} {sha} cannot be read any more")
        yield sha, output[start : position - 1]


def _lines(shas: Collection[str]) -> bytes:
    return "".join(f"{sha}\n" for sha in shas).encode()
