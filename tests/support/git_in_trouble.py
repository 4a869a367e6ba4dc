"""A git that goes wrong when told to: it stands before the real one, where ``PATH`` says."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest


def git_in_trouble(folder: Path, monkeypatch: pytest.MonkeyPatch) -> GitInTrouble:
    """Have ``PATH`` lead to a git that goes wrong when told to."""
    found = GitInTrouble(folder / "bin", str(shutil.which("git")))
    monkeypatch.setenv("PATH", str(found.folder))
    return found


def only_spare_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the one folder where repositories are opened while the cache cannot be used; nothing of it may stay."""
    spare = folder / "spare"
    spare.mkdir()
    monkeypatch.setattr("memrepo_worker.repos.spare._IN_MEMORY", spare)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(spare))
    return spare


class GitInTrouble:
    """A folder with a ``git`` that is the real one, until it is told otherwise."""

    def __init__(self, folder: Path, real: str) -> None:
        self.folder = folder
        self._program = folder / "git"
        self._real = real
        folder.mkdir()
        self.mend()

    def mend(self) -> None:
        """Be the real one."""
        self._become("")

    def go_away(self) -> None:
        """Be not installed."""
        self._program.unlink()

    def be_killed(self) -> None:
        """Die of SIGKILL in mid-run, as by the kernel when memory is short."""
        self._become("kill -9 $$")

    def be_over_its_time(self) -> None:
        """Die as what has used up the processor time that it was given."""
        self._become("kill -XCPU $$")

    def be_slow(self) -> None:
        """Come to no end."""
        self._become("exec /bin/sleep 60")

    def work_in_vain(self, cpu_s: float) -> None:
        """Use so much processor time each time, and say then that it would need more memory than it may take."""
        burn = f"import time\nwhile time.process_time() < {cpu_s}: pass"
        self._become(f"{sys.executable} -S -c '{burn}'; echo 'fatal: Out of memory' >&2; exit 128")

    def says_below(self, folder: Path, words: str) -> None:
        """Fail with what the system says, where the objects lie below a folder."""
        fails = f'echo "fatal: unable to write: {words}" >&2; exit 128'
        self._become(f'case "$GIT_OBJECT_DIRECTORY/" in {str(folder).rstrip("/")}/*) {fails};; esac')

    def _become(self, line: str) -> None:
        new = self._program.with_suffix(".new")
        new.write_text(f'#!/bin/sh\n{line}\nexec {self._real} "$@"\n')
        new.chmod(0o755)
        new.replace(self._program)
