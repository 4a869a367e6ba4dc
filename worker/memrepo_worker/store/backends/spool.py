"""A body on disk before it is sent: of known size and digest, and in memory nowhere.

A put of parts is one request like any other put, with the same condition, so that it is there whole or not at all, and
nothing of it is left behind. (An upload in several requests leaves its parts in the bucket where its writer dies, and
servers that honour conditions of a put need not honour those of such an upload.)
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from memrepo_worker.store.causes import words_of_errno
from memrepo_worker.store.interface import UnavailableError


@dataclass(frozen=True, slots=True)
class Spool:
    """A body in a file that has no name, at its beginning."""

    file: IO[bytes]
    size: int
    md5: bytes


@contextmanager
def spooled(parts: Iterable[bytes], folder: Path | None) -> Iterator[Spool]:
    """Write the parts to a file in ``folder``, which goes away in the end; None: the system's.

    Raises:
        UnavailableError: there is no room for it.
    """
    digest = hashlib.md5(usedforsecurity=False)
    with _file_in(folder) as file:
        size = 0
        for part in parts:
            with _telling(folder):
                file.write(part)
            digest.update(part)
            size += len(part)
        with _telling(folder):
            file.seek(0)
        yield Spool(file, size, digest.digest())


@contextmanager
def _file_in(folder: Path | None) -> Iterator[IO[bytes]]:
    with _telling(folder):
        file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - it is left to the block below
    with file:
        yield file


@contextmanager
def _telling(folder: Path | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        said = words_of_errno(error.errno or 0, error.strerror)
        raise UnavailableError(f"{folder or tempfile.gettempdir()}: {said}") from error
