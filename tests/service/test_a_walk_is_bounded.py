"""Few bytes can stand for any number of paths: what looks at them all ends, soon and with an error that says why."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from memrepo.errors import TooLargeError
from memrepo.limits import MIB, Limits
from memrepo.models import MemoryFile
from memrepo.wire.operations import build
from memrepo.wire.requests.base import Request
from memrepo.wire.requests.reads import (
    DiffRequest,
    GetCommitRequest,
    GetFileRequest,
    GetHistoryRequest,
    ListFilesRequest,
)
from memrepo_worker.git.reader import Reader
from memrepo_worker.journal.layout import Layout
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.interface import ABSENT
from tests.support.bombs import entry_of_many_paths
from tests.support.writers import AGENT, NOW_S, Writer, commit, restore, writer

LAYOUT = Layout.of(AGENT.org_id, AGENT.agent_id)


def asking(kind: type[Request], **body: Any) -> Request:
    head = {"org_id": "acme", "agent_id": "agent-1", "request_id": "reading-1", "enqueued_at": NOW_S}
    return build(kind, **head, **body)


BOUND = 20_000


@pytest.fixture
def many(store: LocalStore, tmp_path: Path) -> Iterator[Writer]:
    """A memory of a billion paths."""
    store.put(LAYOUT.entry(1), entry_of_many_paths(), ABSENT)
    with writer(store, tmp_path / "cache", walk_entries_max=BOUND) as one:
        yield one


WALKS = {
    "get_history": asking(GetHistoryRequest, limit=1),
    "get_commit": asking(GetCommitRequest, ref="HEAD"),
    "diff": asking(DiffRequest, base="HEAD~1", target="HEAD"),
    "restore": restore("HEAD~1"),
}


@pytest.mark.parametrize("name", WALKS)
def test_what_would_walk_a_billion_paths_ends_with_an_error_that_names_the_bound(
    many: Writer, name: str
) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError) as refused:
            many.ask(WALKS[name])
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert "MEMREPO_WALK_ENTRIES_MAX" in str(refused.value)
    assert f"{BOUND} files" in str(refused.value)
    assert refused.value.details["bound"] == "walk_entries_max"
    assert many.counters.snapshot()["bounds.walk_entries"] == 1
    assert peak_bytes < 32 * MIB


@pytest.mark.parametrize("name", WALKS)
def test_folders_that_are_many_times_in_one_are_counted_before_they_are_walked(
    many: Writer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    read = list[str]()
    monkeypatch.setattr(Reader, "tree", counted(Reader.tree, read))

    with pytest.raises(TooLargeError):
        many.ask(WALKS[name])

    assert len(read) < 20, "a thousand of them, in a folder that is there a thousand times itself"


def counted(tree: Callable[..., Any], read: list[str]) -> Callable[..., Any]:
    def reading(reader: Reader, sha: str) -> Any:
        read.append(sha)
        return tree(reader, sha)

    return reading


@pytest.mark.parametrize(
    ("bound", "fits"), [(3 + 9 + 27, True), (3 + 9 + 27 - 1, False)], ids=["at it", "below"]
)
def test_such_folders_count_as_much_as_if_each_were_walked(
    store: LocalStore, tmp_path: Path, bound: int, fits: bool
) -> None:
    store.put(LAYOUT.entry(1), entry_of_many_paths(names=3), ABSENT)
    with writer(store, tmp_path / "cache", walk_entries_max=bound) as few:
        if fits:
            found: Any = few.ask(WALKS["get_commit"])
            assert len(found.files_changed) == 27
        else:
            with pytest.raises(TooLargeError):
                few.ask(WALKS["get_commit"])


def test_a_page_of_a_billion_paths_is_listed_without_looking_at_the_others(many: Writer) -> None:
    found: Any = many.ask(asking(ListFilesRequest, limit=2, prefix="05", after="0500/0999/0998"))

    assert [item.path for item in found] == ["0500/0999/0999", "0501/0000/0000"]
    assert "bounds.walk_entries" not in many.counters.snapshot()


def test_a_memory_of_a_billion_paths_is_written_and_read_by_name(many: Writer) -> None:
    made = many.ask(commit("more", {"0000/0000/0000": "y"}))
    read = many.ask(asking(GetFileRequest, path="0000/0000/0000"))

    assert made.files_changed == ["0000/0000/0000"]
    assert isinstance(read, MemoryFile)
    assert read.text == "y"


def test_one_of_a_billion_paths_is_restored_without_looking_at_the_others(many: Writer) -> None:
    many.ask(commit("more", {"0000/0000/0000": "y"}))
    made = many.ask(restore("HEAD~1", ["0000/0000/0000"]))

    assert made.files_changed == ["0000/0000/0000"]
    assert "bounds.walk_entries" not in many.counters.snapshot()


DEEP = "/".join(["d" * 250] * 15)


@pytest.fixture
def deep(store: LocalStore, tmp_path: Path) -> Iterator[Writer]:
    """A memory whose commits each change 500 files with paths of 3,800 bytes; its trees are small."""
    with writer(store, tmp_path / "deep", walk_entries_max=BOUND) as one:
        for number in range(12):
            changes: dict[str, str | None] = {f"{DEEP}/{name}": str(number) for name in range(500)}
            one.ask(commit("m", changes, create_repo_if_missing=True))
        yield one


def test_paths_that_are_long_take_no_more_memory_than_many_that_are_short(deep: Writer) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError, match="MEMREPO_WALK_ENTRIES_MAX"):
            deep.ask(asking(GetHistoryRequest, limit=1000))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak_bytes < 16 * MIB


@pytest.mark.parametrize("name", ["get_commit", "diff", "list_files"])
def test_one_commit_of_long_paths_is_told_all_the_same(deep: Writer, name: str) -> None:
    requests = {
        "get_commit": asking(GetCommitRequest, ref="HEAD"),
        "diff": asking(DiffRequest, base="HEAD~1", target="HEAD"),
        "list_files": asking(ListFilesRequest),
    }

    assert deep.ask(requests[name])


def test_a_history_of_long_messages_is_told_in_parts(store: LocalStore, tmp_path: Path) -> None:
    with writer(store, tmp_path / "long", limits=Limits(request_bytes_max=200_000)) as one:
        for number in range(5):
            one.ask(commit("m" * 60_000, {"a.md": str(number)}, create_repo_if_missing=True))

        with pytest.raises(TooLargeError, match="ask for fewer at once") as refused:
            one.ask(asking(GetHistoryRequest, limit=5))

        assert refused.value.details["field"] == "limit"
        assert len(one.ask(asking(GetHistoryRequest, limit=3))) == 3  # type: ignore[arg-type]
