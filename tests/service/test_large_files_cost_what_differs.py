"""An edit of a large file, or an append to it, costs what differs: in the store, and so in every entry."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest

from memrepo import append
from memrepo.clock import system_clock
from memrepo_worker.git.deltas.encoding import DEPTH_MAX
from memrepo_worker.git.objects import GitObject
from memrepo_worker.git.packed.directory import PackDirectory
from memrepo_worker.inspection.verifying import Verifier
from memrepo_worker.journal.layout import CONTENT_BYTES_MIN
from memrepo_worker.observe import Counters
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.upkeep.folding import Folder
from memrepo_worker.upkeep.runner import UpkeepRunner
from tests.support.folding import fold, small_runs
from tests.support.stock_git import git, restore, stock_git
from tests.support.writers import AGENT, NOW_S, Writer, commit, create, files, writer

FOLDER = "acme/agent-1/repo.git"
SIZE = 200_000
EDITS = 200 if os.environ.get("LONG") == "1" else 70  # more than two chains
RANDOM = Random(3)
LINES = [f"{number} {RANDOM.random()} {RANDOM.random()}\n" for number in range(SIZE // 45)]
TEXT = "".join(LINES)


def edits(number: int) -> Iterator[str]:
    """Yield states of a file: a line changes in each, and sometimes an old state comes back."""
    lines = [*LINES]
    for step in range(number):
        if step % 9 == 8:
            yield TEXT
            continue
        lines[step * 17 % len(lines)] = f"edited {step}\n"
        yield "".join(lines)


def entry_bytes(store: LocalStore) -> list[int]:
    return [item.size for item in store.list(f"{FOLDER}/journal/")]


def write(one: Writer, texts: Sequence[str], name: str = "log.txt") -> None:
    for text in texts:
        one.ask(commit("edit", {name: text}))


def restored(tmp_path: Path, name: str = "restored.git") -> Path:
    repo = restore(tmp_path / "store" / FOLDER, tmp_path / name)
    git(repo, "fsck", "--strict", "--no-dangling")
    return repo


def contents(repo: Path) -> list[str]:
    shas = git(repo, "rev-list", "main").decode().split()
    return [git(repo, "show", f"{sha}:log.txt").decode() for sha in reversed(shas)]


@pytest.mark.parametrize("text", [TEXT.replace(LINES[900], "edited\n"), TEXT + "a line more\n", TEXT[:-500]])
def test_an_edit_or_an_append_costs_two_percent_of_the_file_at_most(
    text: str, one: Writer, store: LocalStore, tmp_path: Path
) -> None:
    one.ask(create(**{"log.txt": TEXT}))
    write(one, [text])

    assert entry_bytes(store)[1] <= 0.02 * SIZE
    assert contents(restored(tmp_path)) == [TEXT, text]


def test_many_edits_are_restored_by_stock_git_and_by_every_reader(
    one: Writer, store: LocalStore, tmp_path: Path
) -> None:
    texts = list(edits(EDITS))
    one.ask(create(**{"log.txt": TEXT}))
    write(one, texts)
    sizes = entry_bytes(store)

    whole = [size for size in sizes if size > 0.1 * SIZE]
    assert len(whole) == 1 + EDITS // (DEPTH_MAX + 1), "chains end, and begin again with a whole file"
    assert sum(sizes) < 10 * SIZE
    assert one.ask(files()).files["log.txt"].text == texts[-1]
    assert contents(restored(tmp_path)) == [TEXT, *texts]
    with writer(store, tmp_path / "two") as two:
        assert two.ask(files()).files["log.txt"].text == texts[-1]
        two.ask(commit("edit", {"log.txt": TEXT + "new"}))
        assert two.ask(files()).files["log.txt"].text == TEXT + "new"


def test_states_of_one_group_follow_from_each_other_also_back_and_forth(
    one: Writer, store: LocalStore, tmp_path: Path
) -> None:
    one.ask(create(**{"log.txt": TEXT}))
    texts = [TEXT + "a\n", TEXT, TEXT + "a\n", TEXT + "b\n", TEXT]
    one.group(*(commit("edit", {"log.txt": text}) for text in texts))

    assert contents(restored(tmp_path)) == [TEXT, *texts]
    with writer(store, tmp_path / "two") as two:
        assert two.ask(files()).files["log.txt"].text == TEXT


def test_a_folded_memory_of_large_files_is_restored_in_any_mix(
    one: Writer, store: LocalStore, tmp_path: Path
) -> None:
    texts = list(edits(150))
    one.ask(create(**{"log.txt": TEXT}))
    write(one, texts[:70])
    with ThreadPoolExecutor(2) as executor:
        folder = Folder(
            store, stock_git(), executor, system_clock, lambda size: b"x" * size, tmp_path / "work"
        )
        folder.fold(AGENT)
        write(one, texts[70:])
        made = folder.fold(AGENT).made
    assert made
    joined = [item.size for kind in ("base", "segment") for item in store.list(f"{FOLDER}/{kind}/")]
    assert sum(joined) < 6 * SIZE

    assert contents(restored(tmp_path)) == [TEXT, *texts]
    with writer(store, tmp_path / "two") as two:
        assert two.ask(files()).files["log.txt"].text == texts[-1]


def test_after_a_restart_the_first_edit_is_whole_and_the_next_is_not(
    one: Writer, store: LocalStore, tmp_path: Path
) -> None:
    one.ask(create(**{"log.txt": TEXT}))
    with writer(store, tmp_path / "two") as two:
        write(two, [TEXT + "a\n", TEXT + "a\nb\n"])
    first, second = entry_bytes(store)[1:]
    assert first > 0.1 * SIZE
    assert second < 0.02 * SIZE


@pytest.mark.parametrize(("size", "is_kept"), [(1_000_000, True), (3_000_000, False)])
def test_who_adds_to_a_large_file_reads_nothing_of_it_from_the_disk_and_a_larger_one_is_not_kept_for_that(
    monkeypatch: pytest.MonkeyPatch, size: int, is_kept: bool, one: Writer
) -> None:
    read: list[str] = []
    find = PackDirectory.find

    def noted(packs: PackDirectory, sha: str) -> GitObject | None:
        item = find(packs, sha)
        if item is not None and len(item.data) >= size:
            read.append(sha)
        return item

    monkeypatch.setattr(PackDirectory, "find", noted)
    one.ask(create(**{"log.txt": "a line\n" * (size // 7 + 1)}))
    for number in range(12):
        line = append("log.txt", f"{number}\n")
        one.ask(commit("add").model_copy(update={"changes": (line,)}))

    assert (read == []) == is_kept


@pytest.mark.parametrize("who", ["somebody by hand", "its owner"])
def test_joining_edits_of_many_large_files_writes_no_more_than_the_entries_have(
    who: str, store: LocalStore, tmp_path: Path
) -> None:
    random = Random(7)
    lines = {f"{name}.txt": [f"{random.random()}\n" for _ in range(700)] for name in "abcdefghijkl"}
    texts = {name: "".join(some) for name, some in lines.items()}
    counters = Counters()
    upkeep = UpkeepRunner(counters) if who == "its owner" else None
    with small_runs(), writer(store, tmp_path / "one", upkeep=upkeep) as one:
        one.ask(create(**texts))
        for number, (name, some) in enumerate(([*lines.items()] * 3)[:29]):
            some[number] = f"edited {number}\n"
            texts[name] = "".join(some)
            one.ask(commit("edit", {name: texts[name]}))
        if upkeep is None:
            fold(store, tmp_path / "work")
        else:
            assert upkeep.wait_until_idle(60)
            assert {*counters.snapshot()} == {"upkeep.fold.done"}

    sizes = entry_bytes(store)
    segments = [item for item in store.list(f"{FOLDER}/segment/") if item.size > CONTENT_BYTES_MIN]
    assert len(segments) > 1
    for item in segments:
        first, last = (
            int(number) for number in item.key.rpartition("/")[2].removesuffix(".bundle").split("-")
        )
        assert item.size <= sum(sizes[first - 1 : last]), item.key
    with ThreadPoolExecutor(2) as executor:
        verifier = Verifier(store, stock_git(), executor, lambda: NOW_S, tmp_path / "verified")
        assert verifier.verify(AGENT).damages == ()
    with writer(store, tmp_path / "two") as two:
        assert two.texts() == texts
    for name in ("all", "entries of one"):
        if name != "all":
            store.delete([segments[0].key])
        repo = restored(tmp_path, f"{name}.git")
        assert {path: git(repo, "show", f"main:{path}").decode() for path in texts} == texts
