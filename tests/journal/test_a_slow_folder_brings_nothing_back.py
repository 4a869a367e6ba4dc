"""Folders that are paused at any moment, beside deletes: no content is below a delete that was acknowledged.

The schedules are all orders of the requests of one folder and one deleter, and many of three actors. Each part of the
fence is taken out once, and then some schedule must notice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from itertools import count
from random import Random

import pytest

from memrepo_worker.git.objects import GitObject, Kind, object_id
from memrepo_worker.journal import fence, seal
from memrepo_worker.journal.append import append
from memrepo_worker.journal.entry import HEAD_BRANCH, encode_entry
from memrepo_worker.journal.fence import Publication, publish
from memrepo_worker.journal.layout import CONTENT_BYTES_MIN, Layout
from memrepo_worker.journal.ledger import DELETED, LedgerLine
from memrepo_worker.journal.seal import clean
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.decorators.base import StoreDecorator
from memrepo_worker.store.interface import (
    ABSENT,
    ALWAYS,
    Absent,
    ListedObject,
    PreconditionFailedError,
    Store,
    UnavailableError,
    Version,
    When,
)
from tests.support.folding import content_below
from tests.support.interleaving import Actor, InlineExecutor, all_orders, run, some_orders

LAYOUT = Layout.of("acme", "agent-1")
SEAL = 3
LINES = (LedgerLine("request-delete", "0" * 32, DELETED, 1_750_000_000.0),)


def content(text: str) -> bytes:
    """An entry, base or segment that holds a text."""
    blob = GitObject(Kind.BLOB, text.encode() * 20)
    return encode_entry({object_id(blob): blob}, {HEAD_BRANCH: "1" * 40}, (), ())


def fresh_bytes() -> fence.FreshBytes:
    numbers = count()
    return lambda size: f"{next(numbers)} by {id(numbers)}".encode().ljust(size, b".")


def begin_journal(store: Store) -> None:
    """Write an agent's journal of two entries."""
    for seq in (1, 2):
        store.put(LAYOUT.entry(seq), content(f"entry {seq}"), ABSENT)


def journal() -> MemoryStore:
    store = MemoryStore()
    begin_journal(store)
    return store


def folder(key: str) -> Actor:
    return lambda store: publish(store, LAYOUT, key, content(f"fold {key}"), fresh_bytes())


def deleter(store: Store) -> None:
    append(store, LAYOUT.entry(SEAL), encode_entry({}, {}, (), LINES))
    seal.clean(store, LAYOUT, SEAL, LINES, InlineExecutor())


def deleter_who_begins_anew(store: Store) -> None:
    """Delete; then another life begins, and is folded."""
    deleter(store)
    for seq in (SEAL + 1, SEAL + 2):
        append(store, LAYOUT.entry(seq), content(f"new {seq}"))
    publish(store, LAYOUT, LAYOUT.base(SEAL + 1), content("new base"), fresh_bytes())


def content_below_the_seal(store: Store) -> list[str]:
    """The keys below the seal that hold more than a reservation."""
    return content_below(store, SEAL)


def violations(
    actors: list[Actor], orders: Iterable[list[int]], deletes: int
) -> Iterator[tuple[list[int], list[str]]]:
    """Yield what the orders come to that leave content below the seal, once the delete was acknowledged or later."""
    for order in orders:
        store = journal()
        found: list[str] = []

        def look(number: int, store: Store = store, found: list[str] = found) -> None:
            if number == deletes:
                found += content_below_the_seal(store)

        run(store, actors, order, look)
        found += content_below_the_seal(store)
        if found:
            yield order, found


BASE = LAYOUT.base(2)
SEGMENT = LAYOUT.segment(1, 2)
FOLDS, DELETES = 3, 9


def test_every_order_of_a_base_and_a_delete() -> None:
    assert list(violations([folder(BASE), deleter], all_orders(FOLDS, DELETES), 1)) == []


def test_every_order_of_a_segment_and_a_delete() -> None:
    assert list(violations([folder(SEGMENT), deleter], all_orders(FOLDS, DELETES), 1)) == []


@pytest.mark.parametrize("key", [BASE, SEGMENT], ids=["base", "segment"])
def test_many_orders_of_two_folders_and_a_delete_with_another_life_after_it(key: str) -> None:
    orders = some_orders(Random(7), (FOLDS, FOLDS + 2, DELETES + 6), 400)

    assert list(violations([folder(key), folder(key), deleter_who_begins_anew], orders, 2)) == []


def test_many_orders_of_a_folder_and_two_deleters() -> None:
    """The second takes up what the first has begun."""
    orders = some_orders(Random(8), (FOLDS, DELETES, DELETES), 400)

    assert list(violations([folder(BASE), deleter, deleter], orders, 1)) == []


# Each part of the fence taken out


def unreserved(store: Store, layout: Layout, key: str, data: bytes, _: fence.FreshBytes) -> Publication:
    """Look, then create."""
    if fence._is_superseded(store, layout, key):
        return Publication.SUPERSEDED
    try:
        store.put(key, data, ABSENT)
    except PreconditionFailedError:
        return Publication.THERE
    return Publication.DONE


def reserved_after_looking(
    store: Store, layout: Layout, key: str, data: bytes, fresh: fence.FreshBytes
) -> Publication:
    if fence._is_superseded(store, layout, key):
        return Publication.SUPERSEDED
    reserved = fence._reserve(store, key, fresh)
    return Publication.THERE if reserved is None else fence._fill(store, key, data, reserved)


def not_looking(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(fence, "_is_superseded", lambda *_: False)


def filling_whatever_is_there(patch: pytest.MonkeyPatch) -> None:
    def fill(store: Store, key: str, data: bytes, _: Version) -> Publication:
        store.put(key, data, ALWAYS)
        return Publication.DONE

    patch.setattr(fence, "_fill", fill)


def cleaners_that_pass_over_reservations(patch: pytest.MonkeyPatch) -> None:
    is_doomed = seal._is_doomed
    patch.setattr(seal, "_is_doomed", lambda *of: is_doomed(*of) and of[1].size >= CONTENT_BYTES_MIN)


def cleaners_that_list_before_their_base_alone(patch: pytest.MonkeyPatch) -> None:
    def clean_once(
        store: Store, layout: Layout, number: int, lines: Iterable[LedgerLine], executor: Executor
    ) -> None:
        clean(_ListingOnce(store), layout, number, lines, executor)

    patch.setattr(seal, "clean", clean_once)


class _ListingOnce(StoreDecorator):
    """A store of which only the first listing shows anything."""

    _listed = False

    def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        lines = [] if self._listed else [*self._store.list(prefix, start_after)]
        if self._listed:
            lines = [ListedObject(LAYOUT.base(SEAL), CONTENT_BYTES_MIN)]
        self._listed = True
        return iter(lines)


def publishing_by(instead: Callable[..., Publication]) -> Callable[[pytest.MonkeyPatch], None]:
    def patched(patch: pytest.MonkeyPatch) -> None:
        patch.setitem(globals(), "publish", instead)

    patched.__name__ = instead.__name__
    return patched


@pytest.mark.parametrize(
    "take_out",
    [
        publishing_by(unreserved),
        publishing_by(reserved_after_looking),
        not_looking,
        filling_whatever_is_there,
        cleaners_that_pass_over_reservations,
        cleaners_that_list_before_their_base_alone,
    ],
    ids=lambda part: part.__name__,
)
def test_some_order_notices_when_a_part_is_taken_out(
    take_out: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    take_out(monkeypatch)

    assert next(violations([folder(BASE), deleter], all_orders(FOLDS, DELETES), 1), None) is not None


# Lost answers


class DigestStore(MemoryStore):
    """Versions come from the bytes, as in a folder and on some servers."""

    def put(self, key: str, data: bytes, when: When) -> Version:
        with self._lock:
            here = self._objects.get(key)
            if isinstance(when, Version) and here is not None:
                when = here.version if when == Version(here.data.hex()) else Version("another")
        super().put(key, data, when)
        return Version(bytes(data).hex())


class LateStore(StoreDecorator):
    """The first put is lost for now: it is done when the schedule says so."""

    def __init__(self, store: Store, then: Callable[[], None]) -> None:
        super().__init__(store)
        self._then = then
        self._late: tuple[str, bytes, When] | None = None
        self._puts = 0

    def put(self, key: str, data: bytes, when: When) -> Version:
        self._puts += 1
        if self._puts == 1:
            self._late = (key, data, when)
            raise UnavailableError("no answer")
        return self._store.put(key, data, when)

    def put_stream(self, key: str, parts: Iterable[bytes], when: Absent | Version) -> Version:
        if self._late is not None:
            self._then()
            late, self._late = self._late, None
            self._store.put(*late)  # only now does it arrive
        return self._store.put_stream(key, parts, when)


@pytest.mark.parametrize("equal", [False, True], ids=["fresh bytes", "equal bytes"])
def test_a_reservation_that_lands_late_is_not_taken_for_the_one_that_was_removed(equal: bool) -> None:
    """Equal bytes would be: that is why they are fresh."""
    store = DigestStore()
    begin_journal(store)
    fresh = (lambda size: b"=" * size) if equal else fresh_bytes()

    publish(LateStore(store, lambda: deleter(store)), LAYOUT, BASE, content("fold"), fresh)

    assert bool(content_below_the_seal(store)) is equal


@pytest.mark.parametrize("lost", [1, 2], ids=["of the reservation", "of the fill"])
def test_an_answer_that_was_lost_is_settled_by_reading_back(lost: int) -> None:
    store = journal()

    class LosingStore(StoreDecorator):
        puts = 0

        def put(self, key: str, data: bytes, when: When) -> Version:
            version = store.put(key, data, when)
            self.puts += 1
            if self.puts == lost:
                raise UnavailableError("answer lost")
            return version

        def put_stream(self, key: str, parts: Iterable[bytes], when: Absent | Version) -> Version:
            return self.put(key, b"".join(parts), when)

    losing = LosingStore(store)

    assert publish(losing, LAYOUT, BASE, content("fold"), fresh_bytes()) is Publication.DONE
    assert store.get(BASE).data == content("fold")
    assert losing.puts == 2


# Without a delete


def test_a_reservation_that_a_dead_folder_left_is_taken_over() -> None:
    store = journal()
    store.put(BASE, b"left behind", ABSENT)

    assert publish(store, LAYOUT, BASE, content("fold"), fresh_bytes()) is Publication.DONE
    assert store.get(BASE).data == content("fold")


def test_what_is_published_is_left_as_it_is() -> None:
    store = journal()
    publish(store, LAYOUT, BASE, content("first"), fresh_bytes())

    assert publish(store, LAYOUT, BASE, content("second"), fresh_bytes()) is Publication.THERE
    assert store.get(BASE).data == content("first")


def test_below_a_newer_base_nothing_is_published() -> None:
    store = journal()
    store.put(LAYOUT.base(5), content("newer"), ABSENT)

    assert publish(store, LAYOUT, LAYOUT.base(2), content("older"), fresh_bytes()) is Publication.SUPERSEDED
    assert (
        publish(store, LAYOUT, LAYOUT.segment(3, 5), content("older"), fresh_bytes())
        is Publication.SUPERSEDED
    )
    assert publish(store, LAYOUT, LAYOUT.segment(6, 8), content("newer"), fresh_bytes()) is Publication.DONE


def test_a_newer_reservation_is_no_newer_base() -> None:
    store = journal()
    store.put(LAYOUT.base(5), b"reserved", ABSENT)

    assert publish(store, LAYOUT, BASE, content("fold"), fresh_bytes()) is Publication.DONE


def test_the_smallest_base_of_a_seal_is_no_reservation() -> None:
    assert len(encode_entry({}, {}, (), ())) >= CONTENT_BYTES_MIN
