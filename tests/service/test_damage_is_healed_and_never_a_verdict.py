"""Whatever is wrong with the copy on local disk, every answer is that of a worker whose copy is sound."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from memrepo.errors import MemoryRepoError
from memrepo.models import FileChange
from memrepo.settings import environment
from memrepo.wire.requests.base import Head, Request
from memrepo.wire.requests.feed import GetChangesRequest
from memrepo.wire.requests.reads import (
    DiffRequest,
    FindRequestRequest,
    GetFileRequest,
    GetFilesRequest,
    GetHeadShaRequest,
    GetHistoryRequest,
    ListBranchesRequest,
    ListFilesRequest,
)
from memrepo.wire.requests.writes import (
    CommitRequest,
    CreateBranchRequest,
    DeleteBranchRequest,
    RestoreRequest,
)
from memrepo_worker.store.backends.local import LocalStore
from tests.support.stock_git import stock_git
from tests.support.writers import AGENT, NOW_S, commit, create, writer

LONG = environment().get("LONG") == "1"
HEAD = Head(org_id=AGENT.org_id, agent_id=AGENT.agent_id, request_id="asked-here", enqueued_at=NOW_S)
CHANGED = (FileChange(path="new.md", content="new"),)


class MovableStore(LocalStore):
    """A folder that keeps its name where it is copied to, so that a copied cache is still that of its memories."""

    name = "file:///memories"


def packs(cache: Path, suffix: str) -> list[Path]:
    found = sorted(cache.rglob(f"pack-*{suffix}"))
    assert len(found) >= 2, "the history is to lie in several packs"
    return found


def remove(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def flip_at(share: float) -> Callable[[Path], None]:
    def flip(path: Path) -> None:
        data = bytearray(path.read_bytes())
        first = int(share * (len(data) - 64))
        for position in range(first, first + 64):
            data[position] ^= 0xFF
        path.chmod(0o600)  # stock git's packs are read-only, which only root passes over
        path.write_bytes(data)

    flip.__name__ = f"flip_at_{share}"
    return flip


def make_commits_files(pack: Path) -> None:
    """Flip a bit of each commit, by which it is a file: the kind of an object has no checksum but the whole pack's."""
    listed = stock_git().run(["verify-pack", "-v", str(pack.with_suffix(".idx"))]).decode().splitlines()
    places = [int(line.split()[4]) for line in listed if line.split()[1:2] == ["commit"]]
    assert places
    data = bytearray(pack.read_bytes())
    for place in places:
        data[place] ^= 0b010_0000
    pack.chmod(0o600)
    pack.write_bytes(data)


WAYS = [remove, empty, cut, zero, flip_at(0.0), flip_at(0.3), flip_at(0.6), flip_at(1.0)]
PLACES = [(".pack", 0), (".idx", 0), (".idx", -1), (".pack", -1)]
"""Files of which one is damaged: two of them for each way and question, in turns; LONG=1: all."""


def asked(shas: list[str]) -> dict[str, Request]:
    """What is asked of the copy, by a name for it; ``shas`` are those of its history, newest first."""
    return {
        "a commit on a new branch": CommitRequest(**HEAD, changes=CHANGED, message="m", branch="new"),
        "a commit on an old commit": CommitRequest(
            **HEAD, changes=CHANGED, message="m", branch="new", start_point=shas[-1]
        ),
        "a commit for an old head": CommitRequest(
            **HEAD, changes=CHANGED, message="m", expected_head=shas[-2], on_conflict="rebase"
        ),
        "a restore": RestoreRequest(**HEAD, ref=shas[-2]),
        "a new branch": CreateBranchRequest(**HEAD, name="new", start_point=shas[-1]),
        "a deleted branch": DeleteBranchRequest(**HEAD, name="side"),
        "all files": GetFilesRequest(**HEAD),
        "the files of an old commit": GetFilesRequest(**HEAD, ref=shas[-2]),
        "the files of a commit by the beginning of its sha": GetFilesRequest(**HEAD, ref=shas[-2][:9]),
        "the files of the commit before the last": GetFilesRequest(**HEAD, ref="main~2"),
        "a file": GetFileRequest(**HEAD, path="first"),
        "a file that never was": GetFileRequest(**HEAD, path="nowhere"),
        "a commit that never was": GetFilesRequest(**HEAD, ref="0" * 40),
        "a listing": ListFilesRequest(**HEAD),
        "the history": GetHistoryRequest(**HEAD),
        "the history of a path": GetHistoryRequest(**HEAD, path="second"),
        "a head": GetHeadShaRequest(**HEAD, branch="side"),
        "a difference": DiffRequest(**HEAD, base=shas[-1], target="main"),
        "the branches": ListBranchesRequest(**HEAD),
        "what has changed": GetChangesRequest(**HEAD, after=0),
        "what became of a request": FindRequestRequest(**HEAD, wanted="request-known"),
    }


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A folder with a store, and a cache in which its history lies in several packs; and the history's shas."""
    folder = tmp_path_factory.mktemp("memory")
    store = MovableStore(folder / "store")
    with writer(store, folder / "cache") as one:
        one.ask(create(first="1\n" * 200))
        one.ask(commit("second", {"second": "2\n" * 200}, request_id="request-known"))
    with writer(store, folder / "cache") as one:
        one.ask(commit("third", {"third": "3\n" * 200, "first": "1\n" * 199}))
        one.ask(commit("aside", branch="side"))
        history = one.ask(GetHistoryRequest(**HEAD))
    return folder, [made.sha for made in history]


def answer(folder: Path, request: Request) -> object:
    with writer(MovableStore(folder / "store"), folder / "cache") as again:
        (outcome,) = again.group(request)
        (repeated,) = again.group(request)
        counted = again.counters.snapshot()
    assert counted["cache.found"] == 1, "the copy on disk was looked at"
    if isinstance(outcome, MemoryRepoError):
        assert type(repeated) is type(outcome)
        return type(outcome), outcome.message, outcome.details
    assert repeated == outcome, "asked again, it says the same"
    return outcome


@pytest.fixture(scope="module")
def sound(
    memory: tuple[Path, list[str]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], object]:
    """The answers of a worker whose copy is sound."""
    answers: dict[str, object] = {}

    def look(name: str) -> object:
        if name not in answers:
            folder = tmp_path_factory.mktemp("sound") / "memory"
            shutil.copytree(memory[0], folder)
            answers[name] = answer(folder, asked(memory[1])[name])
        return answers[name]

    return look


@pytest.mark.parametrize("name", asked(["0" * 40] * 3))
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_damaged_pack_changes_no_answer(
    name: str,
    way: Callable[[Path], None],
    memory: tuple[Path, list[str]],
    sound: Callable[[str], object],
    tmp_path: Path,
) -> None:
    turn = [*asked(memory[1])].index(name) + WAYS.index(way)
    for number, (suffix, which) in enumerate(PLACES if LONG else PLACES[turn % 2 :: 2]):
        folder = tmp_path / str(number)
        shutil.copytree(memory[0], folder)
        way(packs(folder / "cache", suffix)[which])

        assert answer(folder, asked(memory[1])[name]) == sound(name), (suffix, which)


@pytest.mark.parametrize("name", asked(["0" * 40] * 3))
@pytest.mark.parametrize("which", [0, -1])
def test_commits_that_a_flipped_bit_makes_files_change_no_answer(
    name: str, which: int, memory: tuple[Path, list[str]], sound: Callable[[str], object], tmp_path: Path
) -> None:
    folder = tmp_path / "memory"
    shutil.copytree(memory[0], folder)
    make_commits_files(packs(folder / "cache", ".pack")[which])

    assert answer(folder, asked(memory[1])[name]) == sound(name)


def test_a_copy_made_anew_is_read_although_the_damaged_pack_of_its_name_is_still_open(tmp_path: Path) -> None:
    """libgit2 keeps a pack open by its path while anybody holds it, a traceback too: what is new lies elsewhere."""
    store = LocalStore(tmp_path / "store")
    text = "".join(f"{number * 7919 % 10_007}\n" for number in range(9_000))
    with writer(store, tmp_path / "elsewhere") as one:
        one.ask(create(long=text))
    with writer(store, tmp_path / "cache") as one:
        assert one.texts() == {"long": text}
    (pack,) = (tmp_path / "cache").rglob("pack-*.pack")
    flip_at(0.5)(pack)

    with writer(store, tmp_path / "cache") as again:
        assert again.texts() == {"long": text}
        assert again.counters.snapshot()["repo.healed"] == 1
        (made,) = (tmp_path / "cache").rglob("pack-*.pack")
        assert (made.name, made.parent == pack.parent) == (pack.name, False)


def test_a_pack_that_is_lost_stays_missed_after_others_were_written(tmp_path: Path) -> None:
    store = MovableStore(tmp_path / "store")
    with writer(store, tmp_path / "cache") as one:
        first = one.ask(create(first="1")).sha
        one.ask(commit("second"))
    (lost,) = (tmp_path / "cache").rglob("pack-*.pack")
    with writer(store, tmp_path / "cache") as one:
        third = one.ask(commit("third")).sha
        one.warm().commits_touching(third, "third")  # flushes what waits, for git to see
        lost.unlink()
        lost.with_suffix(".idx").unlink()
        one.ask(commit("fourth"))
    with writer(store, tmp_path / "cache") as one:
        restored = one.ask(RestoreRequest(**HEAD, ref=first))

    assert (restored.created, restored.files_changed) == (True, ["fourth", "second", "third"])
