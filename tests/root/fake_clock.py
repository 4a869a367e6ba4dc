"""A Valkey whose clock a test sets, by Debian's libfaketime: its time is the machine's and some seconds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from memrepo.clock import system_clock
from tests.fresh.debian.machine import run
from tests.support.valkey import Valkey, begun
from tests.support.waiting import wait_for

PACKAGE = "libfaketime"
_INSTALL_TIMEOUT_S = 300.0


@dataclass
class SkewedValkey:
    """A server, and how many seconds its clock is ahead of the machine's. Its steady clock goes on as it does."""

    server: Valkey
    file: Path

    def set(self, skew_s: float) -> None:
        """Move its clock, and see that it has moved."""
        _write(self.file, skew_s)
        with self.server.raw_client() as client:
            wait_for(
                lambda: abs(client.time()[0] - system_clock() - skew_s) < 60, f"a clock {skew_s} s ahead"
            )


@contextmanager
def skewed_valkey(folder: Path) -> Iterator[SkewedValkey]:
    """Run one with the machine's time until the block ends.

    Raises:
        ProcessFailedError: apt gives no libfaketime here; the message ends with its words.
    """
    file = folder / "skew"
    _write(file, 0)
    env = {
        "LD_PRELOAD": str(_library()),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    server = begun(folder / "valkey", env=env)
    try:
        yield SkewedValkey(server, file)
    finally:
        server.kill()


def _write(file: Path, skew_s: float) -> None:
    new = file.with_suffix(".new")
    new.write_text(f"{skew_s:+.0f}")
    new.replace(file)


def _library() -> Path:
    if not (found := _found()):
        run("apt-get", "update", "--quiet", timeout_s=_INSTALL_TIMEOUT_S)
        run(
            *("apt-get", "install", "--yes", "--no-install-recommends", PACKAGE), timeout_s=_INSTALL_TIMEOUT_S
        )
        found = _found()
    return found[0]


def _found() -> list[Path]:
    return sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
