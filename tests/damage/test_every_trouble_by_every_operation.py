"""A machine in trouble under each operation: what is answered is a healthy worker's answer, and what is not, waits."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from memrepo.settings import environment
from memrepo.wire.operations import OPERATIONS
from memrepo_worker.git.command import Git
from memrepo_worker.repos import warm as warm_module
from memrepo_worker.store.interface import UnavailableError
from tests.damage.memory import Observed, ask, copied, observe, stored, worker_at
from tests.support.git_in_trouble import GitInTrouble, git_in_trouble, only_spare_folder

LONG = environment().get("LONG") == "1"
COPIES = ("on disk", "none")
SLOW_S = 0.2


@dataclass
class Machine:
    """What a worker runs on; it is in no trouble at first."""

    git: GitInTrouble
    cache: Path
    patch: pytest.MonkeyPatch

    def refuse_writes(self, number: int) -> None:
        """Have whatever writes below the cache folder meet an error of the system."""
        write = warm_module._write

        def refuse(path: Path, data: bytes) -> None:
            if path.is_relative_to(self.cache):
                raise OSError(number, os.strerror(number), str(path))
            write(path, data)

        self.patch.setattr(warm_module, "_write", refuse)
        self.git.says_below(self.cache, os.strerror(number))

    def have_no_memory(self) -> None:
        """Have no memory for another pack, wherever it is to lie."""

        def fail(*_: object) -> None:
            raise MemoryError

        self.patch.setattr(warm_module, "take_in", fail)

    def be_slow(self) -> None:
        """Have git come to no end, and little patience with it."""
        self.git.be_slow()
        run = Git.run

        def run_hurried(git: Git, arguments: Sequence[str], **options: Any) -> bytes:
            return run(git, arguments, **{**options, "timeout_s": SLOW_S})

        self.patch.setattr(Git, "run", run_hurried)

    def mend(self) -> None:
        """Be in no trouble."""
        self.git.mend()
        self.patch.undo()


TROUBLES: Mapping[str, Callable[[Machine], None]] = {
    "a full disk": lambda machine: machine.refuse_writes(errno.ENOSPC),
    "a disk that is read-only": lambda machine: machine.refuse_writes(errno.EROFS),
    "a folder of another user's": lambda machine: machine.refuse_writes(errno.EACCES),
    "no memory": lambda machine: machine.have_no_memory(),
    "too many open files": lambda machine: machine.refuse_writes(errno.EMFILE),
    "no git": lambda machine: machine.git.go_away(),
    "a git that is killed": lambda machine: machine.git.be_killed(),
    "a git that is slow": lambda machine: machine.be_slow(),
}
MAY_WAIT = ("no memory", "no git", "a git that is killed", "a git that is slow")


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GitInTrouble:
    return git_in_trouble(tmp_path, monkeypatch)


@pytest.fixture
def spare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return only_spare_folder(tmp_path, monkeypatch)


@pytest.fixture
def machine(git: GitInTrouble, spare: Path, tmp_path: Path) -> Iterator[Machine]:
    with pytest.MonkeyPatch.context() as patch:
        yield Machine(git, tmp_path / "memory" / "cache", patch)


def cases() -> Iterator[tuple[str, str, str]]:
    """Yield each trouble with each operation, the copy there in one half of them; LONG=1 gives all."""
    for number, trouble in enumerate(TROUBLES):
        for place, operation in enumerate(OPERATIONS, number):
            yield from ((trouble, operation, copy) for copy in (COPIES if LONG else (COPIES[place % 2],)))


@pytest.mark.parametrize(("trouble", "operation", "copy"), list(cases()))
def test_what_is_answered_is_right_and_the_rest_waits(
    trouble: str,
    operation: str,
    copy: str,
    memory: Path,
    healthy: Callable[[str], Observed],
    machine: Machine,
    tmp_path: Path,
    spare: Path,
) -> None:
    wanted = healthy(operation)
    with copied(memory, tmp_path / "memory") as folder:
        if copy == "none":
            shutil.rmtree(folder / "cache")
        before = stored(folder)
        with worker_at(folder) as one:
            TROUBLES[trouble](machine)
            if trouble in MAY_WAIT:
                with suppress(UnavailableError):
                    assert ask(one, operation) == wanted.answer
                assert stored(folder) in (before, wanted.stored)
            else:
                assert ask(one, operation) == wanted.answer
                assert stored(folder) == wanted.stored
            machine.mend()
            seen = observe(one, folder, operation)
        assert (seen.again, seen.stored) == (wanted.again, wanted.stored)
        assert list(spare.iterdir()) == []
