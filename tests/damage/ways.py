"""The ways in which a file, or a folder, of a warm copy goes bad."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

Damage = Callable[[Path], None]

_FLIPPED_BYTES = 64


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _empty(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
        path.mkdir()
    else:
        _rewrite(path, b"")


def _exchange(path: Path) -> None:
    """Put a folder where a file was, and a file where a folder was."""
    was_folder = path.is_dir()
    _remove(path)
    path.write_bytes(b"") if was_folder else path.mkdir()


def _pipe(path: Path) -> None:
    """Put a named pipe in its place: who opens that waits for another who does."""
    _remove(path)
    os.mkfifo(path, 0o600)


def _lock_up(path: Path) -> None:
    """Have the file be nobody's to open: no right for an ordinary user; root, who has all, is led in a circle."""
    if os.geteuid() != 0:
        path.chmod(0)
        return
    _remove(path)
    path.symlink_to(path.name)


def _cut(path: Path) -> None:
    if path.is_file():
        _rewrite(path, path.read_bytes()[: path.stat().st_size // 2])


def _zero(path: Path) -> None:
    if path.is_file():
        _rewrite(path, bytes(path.stat().st_size))


def _flip(share: float) -> Damage:
    def flip(path: Path) -> None:
        if not path.is_file():
            return
        data = bytearray(path.read_bytes())
        first = int(share * max(len(data) - _FLIPPED_BYTES, 0))
        for position in range(first, min(first + _FLIPPED_BYTES, len(data))):
            data[position] ^= 0xFF
        _rewrite(path, bytes(data))

    return flip


def _rewrite(path: Path, data: bytes) -> None:
    path.chmod(0o600)  # git's packs are read-only, which only root passes over
    path.write_bytes(data)


WAYS: Mapping[str, Damage] = {
    "removed": _remove,
    "emptied": _empty,
    "exchanged": _exchange,
    "a_pipe": _pipe,
    "not_to_be_opened": _lock_up,
    "cut": _cut,
    "zeroed": _zero,
    "flipped_at_the_beginning": _flip(0.0),
    "flipped_early": _flip(0.25),
    "flipped_in_the_middle": _flip(0.5),
    "flipped_late": _flip(0.75),
    "flipped_at_the_end": _flip(1.0),
}
"""By what it is called."""
