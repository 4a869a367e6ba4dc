"""Every sentence of the store's contract about large objects, on every backend: bounds, ranges, puts of parts."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest

from memrepo_worker.store.decorators.retry import RetryingStore, RetryPolicy
from memrepo_worker.store.interface import (
    ABSENT,
    ALWAYS,
    Absent,
    NotThereError,
    ObjectTooLargeError,
    PreconditionFailedError,
    Store,
    StoredObject,
    UnavailableError,
    Version,
)
from memrepo_worker.store.streams import pieces
from tests.support.faulty_store import Fault, FaultyStore, Operation, seeded

KEY = "acme/agent-42/repo.git/base/00000000000000000009.bundle"
MIB = 1 << 20
DATA = Random(7).randbytes(300_000)


def in_parts(data: bytes, part_bytes: int = 70_000) -> Iterator[bytes]:
    yield from (data[start : start + part_bytes] for start in range(0, len(data), part_bytes))


def peak_bytes(work: Iterator[bytes]) -> int:
    """Return how much memory Python took at most while this was read to its end, piece by piece."""
    tracemalloc.start()
    try:
        for _ in work:
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class TestABoundedGet:
    def test_gives_what_is_as_large_as_the_bound(self, store: Store) -> None:
        version = store.put(KEY, DATA, ABSENT)
        assert store.get(KEY, len(DATA)) == StoredObject(DATA, version)

    @pytest.mark.parametrize("bytes_max", [0, len(DATA) - 1])
    def test_refuses_what_is_larger_by_name(self, store: Store, bytes_max: int) -> None:
        store.put(KEY, DATA, ABSENT)
        with pytest.raises(ObjectTooLargeError, match=r"00009\.bundle has 300000 bytes where \d+ are read"):
            store.get(KEY, bytes_max)
        assert store.get(KEY).data == DATA, "the connection is as good as before"

    def test_takes_no_memory_for_what_is_larger(self, store: Store) -> None:
        store.put(KEY, bytes(16 * MIB), ABSENT)

        def reading() -> Iterator[bytes]:
            with pytest.raises(ObjectTooLargeError):
                store.get(KEY, MIB)
            yield b""

        assert peak_bytes(reading()) < 4 * MIB

    def test_says_of_what_is_not_there_that_it_is_not(self, store: Store) -> None:
        with pytest.raises(NotThereError):
            store.get(KEY, 0)


class TestARange:
    def test_is_what_was_asked_for_and_says_how_much_there_is(self, store: Store) -> None:
        store.put(KEY, DATA, ABSENT)
        first = store.get_range(KEY, 0, 1000)
        assert (first.data, first.size) == (DATA[:1000], len(DATA))
        last = store.get_range(KEY, 299_000, 5000, first.pin)
        assert (last.data, last.size, last.pin) == (DATA[299_000:], len(DATA), first.pin)

    def test_of_an_object_without_bytes_is_empty(self, store: Store) -> None:
        store.put(KEY, b"", ABSENT)
        # Asked again, as a worker does: fake-gcs-server may close a connection on which it refused a range.
        found = RetryingStore(store, Random(0), RetryPolicy()).get_range(KEY, 0, 1000)
        assert (found.data, found.size) == (b"", 0)

    def test_says_when_there_is_no_object(self, store: Store) -> None:
        with pytest.raises(NotThereError):
            store.get_range(KEY, 0, 1000)

    @pytest.mark.parametrize("other", [b"another one" * 1000, DATA[::-1], b""])
    def test_is_never_of_another_state_than_the_first(self, store: Store, other: bytes) -> None:
        store.put(KEY, DATA, ABSENT)
        pin = store.get_range(KEY, 0, 1000).pin
        store.put(KEY, other, ALWAYS)
        with pytest.raises(NotThereError):
            store.get_range(KEY, 1000, 1000, pin)

    def test_of_what_was_removed_meanwhile_is_not_there(self, store: Store) -> None:
        store.put(KEY, DATA, ABSENT)
        pin = store.get_range(KEY, 0, 1000).pin
        store.delete([KEY])
        with pytest.raises(NotThereError):
            store.get_range(KEY, 1000, 1000, pin)


class TestPieces:
    @pytest.mark.parametrize("piece_bytes", [len(DATA) + 1, len(DATA), len(DATA) - 1, 100_000, 99_999])
    def test_are_the_whole_object_in_order(self, store: Store, piece_bytes: int) -> None:
        store.put(KEY, DATA, ABSENT)
        found = [*pieces(store, KEY, len(DATA), piece_bytes)]
        assert b"".join(found) == DATA
        assert max(map(len, found)) <= piece_bytes

    def test_of_what_is_over_the_bound_are_none(self, store: Store) -> None:
        store.put(KEY, DATA, ABSENT)
        with pytest.raises(ObjectTooLargeError, match="300000 bytes"):
            next(pieces(store, KEY, len(DATA) - 1, 1000))

    def test_end_where_the_object_is_replaced(self, store: Store) -> None:
        store.put(KEY, DATA, ABSENT)
        reading = pieces(store, KEY, MIB, 100_000)
        assert next(reading) == DATA[:100_000]
        store.put(KEY, DATA[::-1], ALWAYS)
        with pytest.raises(NotThereError):
            next(reading)

    def test_need_memory_for_little_more_than_one(self, store: Store) -> None:
        size = 24 * MIB
        store.put_stream(KEY, (bytes(MIB) for _ in range(size // MIB)), ABSENT)
        in_memory = size if store.name == "memory://" else 0
        assert peak_bytes(pieces(store, KEY, size, 2 * MIB)) < in_memory + 9 * MIB

    @pytest.mark.parametrize("seed", range(3))
    def test_go_on_where_the_connection_broke(self, store: Store, seed: int) -> None:
        store.put(KEY, DATA, ABSENT)
        plan = seeded(Random(seed), 0.3)
        faulty = FaultyStore(store, plan)
        retrying = RetryingStore(faulty, Random(seed), RetryPolicy(attempts_max=20), sleep=lambda _: None)
        assert b"".join(pieces(retrying, KEY, MIB, 9_000)) == DATA
        assert faulty.injected

    def test_fail_clearly_where_nobody_tries_again(self, store: Store) -> None:
        store.put(KEY, DATA, ABSENT)
        requests = iter([None, None, Fault.LOST])
        faulty = FaultyStore(store, lambda _operation, _key: next(requests))
        reading = pieces(faulty, KEY, MIB, 100_000)
        assert [len(next(reading)) for _ in range(2)] == [100_000] * 2
        with pytest.raises(UnavailableError):
            next(reading)


class TestAPutOfParts:
    @pytest.mark.parametrize("size", [0, 1, 300_000, 9 * MIB])
    def test_writes_them_as_one_object(self, store: Store, size: int) -> None:
        data = Random(size).randbytes(size)
        version = store.put_stream(KEY, in_parts(data), ABSENT)
        assert store.get(KEY) == StoredObject(data, version)

    def test_to_a_new_key_fails_on_an_object_and_leaves_it(self, store: Store) -> None:
        version = store.put(KEY, b"first", ABSENT)
        with pytest.raises(PreconditionFailedError):
            store.put_stream(KEY, in_parts(DATA), ABSENT)
        assert store.get(KEY) == StoredObject(b"first", version)

    def test_in_place_of_a_version_succeeds_while_it_is_there(self, store: Store) -> None:
        first = store.put(KEY, b"first", ABSENT)
        second = store.put_stream(KEY, in_parts(DATA), first)
        assert store.get(KEY) == StoredObject(DATA, second)
        assert second != first

    def test_in_place_of_a_version_fails_once_it_is_another(self, store: Store) -> None:
        first = store.put(KEY, b"first", ABSENT)
        second = store.put(KEY, b"second", ALWAYS)
        with pytest.raises(PreconditionFailedError):
            store.put_stream(KEY, in_parts(DATA), first)
        assert store.get(KEY) == StoredObject(b"second", second)

    def test_in_place_of_a_version_brings_nothing_back_that_was_removed(self, store: Store) -> None:
        first = store.put(KEY, b"first", ABSENT)
        store.delete([KEY])
        with pytest.raises(PreconditionFailedError):
            store.put_stream(KEY, in_parts(DATA), first)
        with pytest.raises(NotThereError):
            store.get(KEY)

    @pytest.mark.parametrize("condition", ["absent", "version"])
    def test_is_decided_when_it_ends_and_not_when_it_begins(self, store: Store, condition: str) -> None:
        when: Absent | Version = ABSENT if condition == "absent" else store.put(KEY, b"first", ABSENT)

        def parts() -> Iterator[bytes]:
            yield DATA
            store.put(KEY, b"a rival's", ALWAYS)
            yield DATA

        with pytest.raises(PreconditionFailedError):
            store.put_stream(KEY, parts(), when)
        assert store.get(KEY).data == b"a rival's"

    @pytest.mark.parametrize(
        "fault", [OSError(5, "a disk"), UnavailableError("a store"), ValueError("no pack")]
    )
    def test_whose_parts_fail_writes_nothing_and_says_what_they_said(
        self, store: Store, fault: Exception
    ) -> None:
        def parts() -> Iterator[bytes]:
            yield DATA
            raise fault

        with pytest.raises(type(fault)) as found:
            store.put_stream(KEY, parts(), ABSENT)
        assert found.value is fault
        assert list(store.list("")) == []

    def test_races_with_others_for_one_winner(self, store: Store) -> None:
        bodies = [bytes([number]) * 200_000 for number in range(6)]

        def put(body: bytes) -> bool:
            try:
                store.put_stream(KEY, in_parts(body), ABSENT)
            except PreconditionFailedError:
                return False
            except UnavailableError:
                return store.get(KEY).data == body
            return True

        with ThreadPoolExecutor(len(bodies)) as threads:
            won = [*threads.map(put, bodies)]
        assert won.count(True) == 1
        assert store.get(KEY).data == bodies[won.index(True)]

    def test_needs_memory_for_little_more_than_one_part(self, store: Store) -> None:
        if store.name == "memory://":
            return  # it is where the object is kept

        def putting() -> Iterator[bytes]:
            store.put_stream(KEY, (bytes(MIB) for _ in range(24)), ABSENT)
            yield b""

        assert peak_bytes(putting()) < 8 * MIB

    def test_whose_answer_is_lost_is_there_once_and_the_next_one_meets_it(self, store: Store) -> None:
        answers = iter([Fault.ANSWER_LOST, None])
        faulty = FaultyStore(
            store, lambda operation, _key: next(answers) if operation is Operation.PUT else None
        )
        retrying = RetryingStore(faulty, Random(0), sleep=lambda _: None)
        with pytest.raises(UnavailableError):
            retrying.put_stream(KEY, in_parts(DATA), ABSENT)
        with pytest.raises(PreconditionFailedError):
            retrying.put_stream(KEY, in_parts(DATA), ABSENT)
        assert store.get(KEY).data == DATA
