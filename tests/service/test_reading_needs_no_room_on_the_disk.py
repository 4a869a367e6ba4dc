"""Packs are opened through a folder of links: where the machine takes none, that is its trouble, and told as that.

Never is it damage of what is read: no copy is thrown away for it, no journal named, and it is tried again.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

import pytest

from memrepo_worker.git.packed import opened
from memrepo_worker.inspection.verifying import Verifier
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.interface import UnavailableError
from tests.support.folding import fold, small_runs
from tests.support.stock_git import stock_git
from tests.support.writers import AGENT, NOW_S, commit, create, writer

TROUBLES = [errno.ENOSPC, errno.EMFILE, errno.EROFS, errno.ENOMEM]


@contextmanager
def no_links(number: int, below: Path) -> Iterator[None]:
    """Have no folder of links be made below a folder, until the block ends."""

    def refuse(prefix: str, dir: Path) -> str:  # noqa: A002 - as it is called
        if dir.is_relative_to(below):
            raise OSError(number, os.strerror(number))
        return mkdtemp(prefix=prefix, dir=dir)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opened, "mkdtemp", refuse)
        yield


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path / "store")
    with writer(store, tmp_path / "cache") as one:
        one.ask(create(first="1"))
        for number in range(17):
            one.ask(commit(f"step {number}"))
        one.texts()
        one.warm().save()
    return store


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_warm_copy_on_a_full_disk_is_opened_and_stays(
    store: LocalStore, tmp_path: Path, number: int
) -> None:
    with writer(store, tmp_path / "cache") as again, no_links(number, tmp_path / "cache"):
        assert again.texts()["first"] == "1"
        counted = again.counters.snapshot()
    assert counted["cache.found"] == 1
    assert not {"cache.dropped", "cache.failed", "cache.passed_by", "repo.opened_cold"} & counted.keys()


@pytest.mark.parametrize("number", TROUBLES)
def test_what_can_be_opened_nowhere_is_waited_for_and_told_as_what_it_is(
    store: LocalStore, tmp_path: Path, number: int
) -> None:
    with writer(store, tmp_path / "cache") as again:
        with no_links(number, Path("/")), pytest.raises(UnavailableError, match=errno.errorcode[number]):
            again.texts()
        assert again.texts()["first"] == "1"


@pytest.mark.parametrize("number", TROUBLES)
def test_verifying_finds_no_damage_for_it(store: LocalStore, tmp_path: Path, number: int) -> None:
    with ThreadPoolExecutor(2) as executor:
        verifier = Verifier(store, stock_git(), executor, lambda: NOW_S, tmp_path / "scratch")
        with no_links(number, Path("/")), pytest.raises(OSError, match=os.strerror(number)):
            verifier.verify(AGENT)


@pytest.mark.parametrize("number", TROUBLES)
def test_folding_finds_no_damage_for_it(store: LocalStore, tmp_path: Path, number: int) -> None:
    with small_runs():
        with no_links(number, Path("/")), pytest.raises(OSError, match=os.strerror(number)):
            fold(store, tmp_path / "scratch")
        assert fold(store, tmp_path / "scratch").made


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_verifying_and_folding_go_on_by_links_in_memory(
    store: LocalStore, tmp_path: Path, number: int
) -> None:
    with ThreadPoolExecutor(2) as executor, small_runs(), no_links(number, tmp_path):
        verifier = Verifier(store, stock_git(), executor, lambda: NOW_S, tmp_path / "scratch")
        assert verifier.verify(AGENT).damages == ()
        assert fold(store, tmp_path / "scratch").made
