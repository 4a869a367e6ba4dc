"""Packs that git takes one by one, and not together, are taken in by few processes, however many they are."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import pytest

from memrepo.limits import MIB
from memrepo.settings import environment
from memrepo_worker.git.command import Git, GitError, GitOverBoundsError
from memrepo_worker.git.deltas.encoding import Delta, encode_delta
from memrepo_worker.git.objects import GitObject, Kind, object_id
from memrepo_worker.git.packed import taking_in
from memrepo_worker.git.packed.directory import PackDirectory
from memrepo_worker.git.packed.taking_in import take_in
from memrepo_worker.git.packs import encode_pack, join_packs
from memrepo_worker.inspection.verifying import Verifier
from memrepo_worker.journal.entry import decode_entry, encode_entry
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Fed
from memrepo_worker.repos.trust import WarmRepoDamagedError
from memrepo_worker.repos.warm import WarmRepo
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.interface import Store
from memrepo_worker.upkeep import joining
from memrepo_worker.upkeep.folding import Known
from memrepo_worker.upkeep.owner import link_warm
from tests.support.folding import folder as folder_of
from tests.support.interleaving import InlineExecutor
from tests.support.jobs import present
from tests.support.stock_git import git, stock_git
from tests.support.writers import AGENT, NOW_S, commit, create, writer

PROCESSES_MAX = 100
FOLD_PROCESSES_MAX = 50
MANY = 10_000 if environment().get("LONG") == "1" else 2_000
BASE = GitObject(Kind.BLOB, b"".join(b"%d\n" % (number * 7919 % 10_007) for number in range(900)))


def counted_git() -> tuple[Git, Counters]:
    counters = Counters()
    plain = stock_git()
    return replace(plain, processes=replace(plain.processes, observer=counters)), counters


def following(number: int) -> GitObject:
    """Return a state of the file that follows from ``BASE``."""
    return GitObject(Kind.BLOB, BASE.data + b"and %d\n" % number)


def objects_and_deltas(number: int) -> tuple[dict[str, GitObject], dict[str, Delta]]:
    """Return what an entry has in which the file is written whole, and edited."""
    item, base = following(number), object_id(BASE)
    delta = Delta(base, present(encode_delta(BASE.data, item.data)))
    return {base: BASE, object_id(item): item}, {object_id(item): delta}


def pack(number: int) -> bytes:
    objects, deltas = objects_and_deltas(number)
    return encode_pack(objects, deltas=deltas).data


def joined(packs: list[bytes]) -> bytes:
    return bytes(join_packs(packs) or b"")


def started(counters: Counters) -> int:
    return sum(number for name, number in counters.snapshot().items() if name.startswith("process.started"))


@cache
def thousand_packs() -> tuple[bytes, ...]:
    return tuple(pack(number) for number in range(1_000))


@pytest.mark.timeout(300)
def test_thousands_of_packs_that_have_one_object_are_taken_in_by_few_processes(tmp_path: Path) -> None:
    WarmRepo.empty(tmp_path / "repo", stock_git())
    packs = [*thousand_packs(), *(pack(number) for number in range(1_000, MANY))]
    counting, counters = counted_git()

    take_in(counting, tmp_path / "repo", packs)

    assert 0 < started(counters) < PROCESSES_MAX
    found = PackDirectory(tmp_path / "repo/objects")
    for number in (0, 1, MANY // 2, MANY - 1):
        assert present(found.find(object_id(following(number)))) == following(number)
    assert len(found.files) < PROCESSES_MAX
    assert not (tmp_path / "repo/objects/unpacked").exists()


def test_what_git_refuses_alone_is_refused_after_few_processes(tmp_path: Path) -> None:
    WarmRepo.empty(tmp_path / "repo", stock_git())
    objects, deltas = objects_and_deltas(0)
    del objects[object_id(BASE)]  # so what it follows from is nowhere
    lost = {key: Delta("1" * 40, each.data) for key, each in deltas.items()}
    for place in (0, 500, 999):
        packs = [*thousand_packs()]
        packs[place] = encode_pack(objects, deltas=lost).data
        counting, counters = counted_git()

        with pytest.raises(GitError):
            take_in(counting, tmp_path / "repo", packs)

        assert 0 < started(counters) < PROCESSES_MAX


def test_very_many_small_objects_are_not_unpacked_to_a_file_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taking_in, "_UNPACKED_BYTES_MAX", 1 << 20)
    WarmRepo.empty(tmp_path / "repo", stock_git())
    counting, _ = counted_git()

    with pytest.raises(GitOverBoundsError):  # 3 MB where each of their objects is a file
        take_in(counting, tmp_path / "repo", [*thousand_packs()])

    assert not (tmp_path / "repo/objects/unpacked").exists()


def test_what_is_over_bounds_together_is_given_up_after_few_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each entry alone is within them, any two are not."""
    counting, _ = counted_git()
    repo = WarmRepo.empty(tmp_path / "repo", counting)
    entries = [
        decode_entry(number + 1, encode_entry(objects_and_deltas(number)[0], {}, (), ()))
        for number in range(1_000)
    ]
    asked: list[int] = []
    index_pack = Git.index_pack

    def bounded(git: Git, path: Path, joined: Fed) -> str:
        asked.append(len(joined))
        if len(joined) > 1.5 * len(entries[0].pack):
            raise GitOverBoundsError("it is over a bound")
        return index_pack(git, path, joined)

    monkeypatch.setattr(Git, "index_pack", bounded)
    monkeypatch.setattr(WarmRepo, "_follow", lambda *_: None)

    with pytest.raises(GitOverBoundsError):
        repo.absorb(entries)

    assert 0 < len(asked) < PROCESSES_MAX


def test_a_memory_whose_file_goes_to_and_fro_is_opened_by_few_processes(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    text = BASE.data.decode()
    with writer(store, tmp_path / "one") as one:
        one.ask(create(**{"a.md": text}))
        for number in range(110):
            one.ask(commit(f"step {number}", {"a.md": text if number % 2 else f"{text}more\n"}))
        expected, texts = one.messages(), one.texts()

    with writer(store, tmp_path / "two") as two:
        assert two.messages() == expected
        assert two.texts() == texts
        assert 0 < started(two.counters) < PROCESSES_MAX
        path = present(two.service.cache.path_of(two.agent))
        git(path, "fsck", "--full", "--strict", two.warm().state.refs["refs/heads/main"])


def goes_to_and_fro(store: Store, folder: Path, number: int) -> tuple[list[str], dict[str, str]]:
    """Write a memory whose large file changes and changes back; return its messages and texts."""
    text = BASE.data.decode()
    with writer(store, folder) as one:
        one.ask(create(**{"a.md": text}))
        for each in range(number):
            one.ask(commit(f"step {each}", {"a.md": text if each % 2 else f"{text}{each % 10}\n"}))
        return one.messages(), one.texts()


@pytest.fixture(scope="module")
def to_and_fro(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], dict[str, str]]:
    """A folder in which such a memory was written once, with its messages and texts."""
    folder = tmp_path_factory.mktemp("to-and-fro")
    return folder / "store", *goes_to_and_fro(LocalStore(folder / "store"), folder / "one", 135)


@pytest.mark.parametrize("unpacked_bytes_max", [MIB, 256 * MIB], ids=["some at a time", "at once"])
@pytest.mark.parametrize("is_warm", [False, True], ids=["cold", "warm"])
def test_a_memory_whose_file_goes_to_and_fro_is_folded_by_few_processes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    to_and_fro: tuple[Path, list[str], dict[str, str]],
    is_warm: bool,
    unpacked_bytes_max: int,
) -> None:
    """All objects of its entries are in what is made, and each of these is whole."""
    monkeypatch.setattr(joining, "_UNPACKED_BYTES_MAX", unpacked_bytes_max)
    written, *expected = to_and_fro
    shutil.copytree(written, tmp_path / "store")
    store = LocalStore(tmp_path / "store")
    counting, counters = counted_git()

    with writer(store, tmp_path / "two") as two:
        assert two.messages() == expected[0]
        known = Known(partial(link_warm, two.service.cache, AGENT)) if is_warm else Known()
        with two.service.cache.hold(AGENT):
            two.warm().save()
        folder = replace(folder_of(store, tmp_path / "scratch"), git=counting)
        assert len(folder.fold(AGENT, known=known).made) == 2

    assert 0 < started(counters) < FOLD_PROCESSES_MAX
    verifier = Verifier(store, stock_git(), InlineExecutor(), lambda: NOW_S, tmp_path / "verified")
    assert verifier.verify(AGENT).damages == ()
    with writer(store, tmp_path / "three") as three:
        assert [three.messages(), three.texts()] == expected
        assert "journal.accelerator_passed_over" not in three.counters.snapshot()


def test_entries_of_which_one_does_not_hold_what_it_needs_are_damage(tmp_path: Path) -> None:
    repo = WarmRepo.empty(tmp_path / "repo", stock_git())
    entries = []
    for number in range(60):
        objects, deltas = objects_and_deltas(number)
        if number == 40:
            deltas = {key: Delta("1" * 40, each.data) for key, each in deltas.items()}
        entries.append(decode_entry(number + 1, encode_entry(objects, {}, (), (), deltas)))

    with pytest.raises(WarmRepoDamagedError):
        repo.absorb(entries)
