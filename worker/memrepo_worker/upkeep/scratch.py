"""A folder for files that are worked on, gone afterwards; what a killed process left is removed by the next."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

from memrepo_worker.files.regular import make_way, regular

_LOCK = "lock"


@contextmanager
def scratch_folder(above: Path) -> Iterator[Path]:
    """Yield a new folder below ``above``, which nobody else may read.

    Raises:
        OSError: it cannot be made.
    """
    above.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(above / _LOCK):
        _sweep(above)
        folder = Path(mkdtemp(dir=above))
        held = (folder / _LOCK).open("wb")
        fcntl.flock(held, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        held.close()


def sweep_scratch(above: Path) -> None:
    """Remove what killed processes left below ``above``; where that cannot be, it stays for the next."""
    with suppress(OSError):
        if above.is_dir():
            with _locked(above / _LOCK):
                _sweep(above)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    make_way(path)
    with os.fdopen(regular(path, os.O_WRONLY | os.O_CREAT), "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sweep(above: Path) -> None:
    """Remove the folders whose process has ended: the kernel gives its locks back. Nobody makes one meanwhile."""
    for folder in above.glob("*/"):
        with suppress(BlockingIOError):
            make_way(folder / _LOCK)
            with suppress(FileNotFoundError), open(folder / _LOCK, "rb", opener=regular) as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
