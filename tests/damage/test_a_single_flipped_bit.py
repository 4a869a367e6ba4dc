"""One bit is flipped in a file of a warm copy, and every answer is that of a worker whose copy is sound.

Of the kind and size of an object, and of what a delta is made from, a pack has no checksum but that of all its bytes.
Some of the bits are tried each time, spread over all that is asked; LONG=1 tries many more.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from memrepo import append
from memrepo.errors import MemoryRepoError
from memrepo.limits import Limits
from memrepo.settings import environment
from memrepo.wire.operations import OPERATIONS
from memrepo.wire.requests.base import Head, Request
from memrepo.wire.requests.merges import PreviewMergeRequest
from memrepo.wire.requests.reads import GetFileRequest, GetFilesRequest, ListFilesRequest
from memrepo.wire.requests.search import SearchRequest
from memrepo.wire.requests.writes import CommitRequest, CreateBranchRequest
from tests.damage.memory import (
    MovableStore,
    Observed,
    ask,
    copied,
    healthy_answers,
    make,
    observe,
    worker_at,
)
from tests.damage.single_bits import Bit, delta_bits, delta_kinds, header_bits, other_bits
from tests.support.folding import fold, small_runs
from tests.support.writers import AGENT, NOW_S, Writer, commit, create, history, writer

LONG = environment().get("LONG") == "1"
OTHERS_EVERY = 1_009 if LONG else 20_011
HEADERS_EVERY = 7 if LONG else 397
GRAPH_EVERY = 61 if LONG else 244
INDEX_EVERY = 101 if LONG else 2_003
ASKED_EVERY = 1 if LONG else 11
pytestmark = pytest.mark.timeout(3600 if LONG else 120)


@pytest.fixture(scope="module", params=["as it was written", "opened from a base"])
def memory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A memory with deltas: those that name what they are made from, or those that say how far before it lies."""
    folder = tmp_path_factory.mktemp("memory") / "sound"
    make(folder)
    if request.param == "opened from a base":
        store = MovableStore(folder / "store")
        with writer(store, folder / "cache") as one:
            for number in range(8):
                one.ask(commit(f"more {number}", {"b.md": f"{number}\n"}))
        with small_runs():
            fold(store, folder / "folding")
        shutil.rmtree(folder / "folding")
        shutil.rmtree(folder / "cache")
        with writer(store, folder / "cache") as one:
            one.ask(history())
        assert delta_kinds(folder) == {6}
    else:
        assert delta_kinds(folder) == {7}
    with worker_at(folder) as one:
        one.ask(history())
        warm = one.warm()
        warm.graph.write(warm.git, [*warm.on_disk.refs.values()], warm.on_disk.seq)
    assert [*folder.rglob("*.graph")]
    return folder


@pytest.fixture(scope="module")
def healthy(memory: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Observed]:
    """What a worker observes whose copy is sound, by operation."""
    return healthy_answers(memory, tmp_path_factory.mktemp("healthy"))


def some_bits(memory: Path, begin: int) -> Iterator[Bit]:
    yield from header_bits(memory)[begin % HEADERS_EVERY :: HEADERS_EVERY]
    yield from other_bits(memory)[begin % OTHERS_EVERY :: OTHERS_EVERY]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_answers_as_a_healthy_worker(
    operation: str, memory: Path, healthy: Callable[[str], Observed], tmp_path: Path
) -> None:
    for number, bit in enumerate(some_bits(memory, list(OPERATIONS).index(operation) * 1_777)):
        with copied(memory, tmp_path / str(number)) as folder:
            bit.flip(folder)

            with worker_at(folder) as one:
                assert observe(one, folder, operation) == healthy(operation), bit
                healed = one.counters.snapshot().get("repo.healed", 0)
                ask(one, operation)
                assert healed == one.counters.snapshot().get("repo.healed", 0) <= 1, bit


def test_files_that_seem_to_be_deltas_and_deltas_that_seem_none_end_no_worker(
    memory: Path, healthy: Callable[[str], Observed], tmp_path: Path
) -> None:
    """Asked for the size of some of them, libgit2 reads where nothing is, and the process ends."""
    for number, bit in enumerate(delta_bits(memory)):
        with copied(memory, tmp_path / str(number)) as folder:
            bit.flip(folder)

            with worker_at(folder) as one:
                assert ask(one, "list_files") == healthy("list_files").answer, bit
                assert one.texts()["large"].startswith("0\n7919\n"), bit


def test_a_history_of_a_path_is_whole_whatever_becomes_of_the_commit_graph_while_a_worker_runs(
    memory: Path, healthy: Callable[[str], Observed], tmp_path: Path
) -> None:
    graph = [bit for bit in other_bits(memory) if bit.file.suffix == ".graph"]
    assert len(graph) > 8_000
    for number, bit in enumerate(graph[::GRAPH_EVERY]):
        with copied(memory, tmp_path / str(number)) as folder, worker_at(folder) as one:
            assert ask(one, "get_history") == healthy("get_history").answer

            bit.flip(folder, unseen=True)
            one.forget_histories()

            assert ask(one, "get_history") == healthy("get_history").answer, bit


HEAD = Head(org_id=AGENT.org_id, agent_id=AGENT.agent_id, request_id="asked-here", enqueued_at=NOW_S)
TEXTS = {"a.md": "a\n" * 200, "b/c.md": "tea\n" * 7, "b/d.md": "d" * 3000, "e.md": ""}
ADDED = "more\n"
ALL_BYTES = sum(map(len, TEXTS.values()))
QUESTIONS: Mapping[str, Request] = {
    "a listing": ListFilesRequest(**HEAD),
    "a listing of a folder": ListFilesRequest(**HEAD, prefix="b/"),
    "all files, which are as large as an answer may be": GetFilesRequest(**HEAD),
    "a file": GetFileRequest(**HEAD, path="b/d.md"),
    "a search": SearchRequest(**HEAD, text="tea"),
    "a preview": PreviewMergeRequest(**HEAD, source="side"),
    "an edit of a file that is as large as edits may be": CommitRequest(
        **HEAD, changes=(append("b/d.md", ADDED),), message="edited"
    ),
    "a commit that never was": GetFilesRequest(**HEAD, ref="0" * 40),
    "a branch at a commit": CreateBranchRequest(**HEAD, name="new", start_point="main~1"),
}


def worker_with_little_room(folder: Path) -> AbstractContextManager[Writer]:
    return writer(
        MovableStore(folder / "store"),
        folder / "cache",
        limits=Limits(request_bytes_max=ALL_BYTES),
        edited_bytes_max=len(TEXTS["b/d.md"]) + len(ADDED),
    )


@pytest.fixture(scope="module")
def small_memory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small") / "sound"
    with worker_at(folder) as one:
        # Whatever ran before: which bits are flipped follows from the ids of commits, and they from those of requests.
        one.ask(create("request-small-1", **TEXTS | {"a.md": "begin\n"}))
        one.ask(commit("aside", {"a.md": "theirs\n" * 30}, branch="side", request_id="request-small-2"))
    with worker_at(folder) as one:
        one.ask(commit("ours", {"a.md": TEXTS["a.md"]}, request_id="request-small-3"))
    return folder


def answer_of(one: Writer, question: str) -> object:
    (outcome,) = one.group(QUESTIONS[question])
    return (type(outcome), str(outcome)) if isinstance(outcome, MemoryRepoError) else outcome


@pytest.fixture(scope="module")
def answers(small_memory: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, object]:
    """What a worker answers whose copy is sound."""
    found = {}
    for number, question in enumerate(QUESTIONS):
        place = tmp_path_factory.mktemp("healthy") / str(number)
        with copied(small_memory, place) as folder, worker_with_little_room(folder) as one:
            found[question] = answer_of(one, question)
    refused = {question for question, answer in found.items() if isinstance(answer, tuple)}
    assert refused == {"a commit that never was"}
    return found


@pytest.mark.parametrize("question", QUESTIONS)
def test_no_answer_is_of_another_size_and_none_is_refused_for_it(
    question: str, small_memory: Path, answers: Mapping[str, object], tmp_path: Path
) -> None:
    begin = list(QUESTIONS).index(question) % ASKED_EVERY
    for number, bit in enumerate(header_bits(small_memory)[begin::ASKED_EVERY]):
        with copied(small_memory, tmp_path / str(number)) as folder:
            bit.flip(folder)

            with worker_with_little_room(folder) as one:
                assert answer_of(one, question) == answers[question], bit


@pytest.mark.parametrize("question", QUESTIONS)
def test_nor_where_it_is_flipped_after_the_worker_has_looked_at_the_copy(
    question: str, small_memory: Path, answers: Mapping[str, object], tmp_path: Path
) -> None:
    """As on a disk that forgets: no time of a file says so."""
    begin = list(QUESTIONS).index(question)
    indexes = [bit for bit in other_bits(small_memory) if bit.file.suffix == ".idx"]
    bits = header_bits(small_memory)[begin % ASKED_EVERY :: ASKED_EVERY] + indexes[begin * 97 :: INDEX_EVERY]
    for number, bit in enumerate(bits):
        with copied(small_memory, tmp_path / str(number)) as folder, worker_with_little_room(folder) as one:
            assert answer_of(one, "a listing") == answers["a listing"]
            assert answer_of(one, "a commit that never was") == answers["a commit that never was"]

            bit.flip(folder, unseen=True)

            assert answer_of(one, question) == answers[question], bit
