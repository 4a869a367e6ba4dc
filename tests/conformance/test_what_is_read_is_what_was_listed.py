"""On every backend: of an object no more is read than was listed, and where it has other bytes it is listed again.

A base may be replaced between the listing and the read, which is no damage; an entry never is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from memrepo.errors import MemoryDamagedError
from memrepo.limits import KIB, MIB
from memrepo.settings import environment
from memrepo.wire.operations import build
from memrepo.wire.requests.feed import GetChangesRequest
from memrepo_worker.git.objects import GitObject, Kind, object_id
from memrepo_worker.git.packs import encode_pack, join_packs
from memrepo_worker.inspection.verifying import Verifier
from memrepo_worker.journal.entry import decode_entry, encode_joined
from memrepo_worker.observe import Counters
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.decorators.base import StoreDecorator
from memrepo_worker.store.decorators.metering import MeteredStore
from memrepo_worker.store.interface import (
    ABSENT,
    ALWAYS,
    GET_BYTES_MAX,
    ListedObject,
    Pin,
    Store,
    StoredObject,
    StoredRange,
)
from tests.conformance.conftest import MEMORY, SHARED
from tests.support.folding import LAYOUT, fold, small_runs
from tests.support.interleaving import InlineExecutor
from tests.support.jobs import present
from tests.support.stock_git import stock_git
from tests.support.writers import AGENT, NOW_S, commit, create, files, writer

LONG = environment().get("LONG") == "1"
LOOKS = 6
"""So often at most is a journal looked at that is damaged, or seems so: three times, and that once more."""
LARGE = "".join(f"{number * 7919 % 1_000_003}\n" for number in range(500_000))
"""More than what is read in one request, also compressed."""


class Copy(MemoryStore):
    """What lies in a store, to be read and written apart from it."""

    def copy_to(self, store: Store) -> None:
        for item in self.list(""):
            store.put(item.key, self.get(item.key, GET_BYTES_MAX).data, ABSENT)


class WatchedStore(StoreDecorator):
    """Tells, of each key that was listed, what was listed last, and the most that was asked for at once."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.listed: dict[str, int] = {}
        self.over: list[tuple[str, int, int]] = []

    def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        for item in super().list(prefix, start_after):
            self.listed[item.key] = item.size
            yield item

    def get(self, key: str, bytes_max: int = GET_BYTES_MAX) -> StoredObject:
        size = self.listed.get(key)
        if size is not None and bytes_max > size:
            self.over.append((key, size, bytes_max))
        return super().get(key, bytes_max)


class MislistingStore(StoreDecorator):
    """Lists an object with another size, so many times."""

    def __init__(self, store: Store, key: str, size: int, times: int) -> None:
        super().__init__(store)
        self._key = key
        self._size = size
        self.left = times

    def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        for item in super().list(prefix, start_after):
            if item.key == self._key and self.left:
                self.left -= 1
                yield ListedObject(item.key, self._size)
            else:
                yield item


class CuttingStore(StoreDecorator):
    """Answers so many gets of an object with its first half, as if that were all of it."""

    def __init__(self, store: Store, key: str, times: int) -> None:
        super().__init__(store)
        self._key = key
        self.left = times

    def get(self, key: str, bytes_max: int = GET_BYTES_MAX) -> StoredObject:
        found = super().get(key, bytes_max)
        if key != self._key or not self.left:
            return found
        self.left -= 1
        return StoredObject(found.data[: len(found.data) // 2], found.version)


class ReplacingStore(StoreDecorator):
    """Has a base replaced just before it is read: what others write between a listing and a read."""

    def __init__(self, store: Store, key: str, other: bytes) -> None:
        super().__init__(store)
        self._key = key
        self.other: bytes | None = other

    def _replace(self, key: str) -> None:
        if key == self._key and self.other is not None:
            other, self.other = self.other, None
            version = self._store.get(key, GET_BYTES_MAX).version
            self._store.put(key, other, version)

    def get(self, key: str, bytes_max: int = GET_BYTES_MAX) -> StoredObject:
        self._replace(key)
        return super().get(key, bytes_max)

    def get_range(self, key: str, start: int, bytes_max: int, pin: Pin | None = None) -> StoredRange:
        self._replace(key)
        return super().get_range(key, start, bytes_max, pin)


SMALL, LARGEST = 2, 3
"""Entries of a memory that has four."""
FEWER, MORE = 100, 4 * MIB
"""Sizes that an entry is listed with and does not have, in bytes."""
BEGUN = ["Initial commit", "step 0", "step 1", "step 2"]
"""The messages of a memory of four entries, of which the third is large."""


@pytest.fixture(scope="module")
def four_entries(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """Have that memory written once: on every backend it has the same bytes."""
    written = Copy()
    with writer(written, tmp_path_factory.mktemp("written")) as one:
        one.ask(create(first="1"))
        for number, text in enumerate(("a", LARGE, "c")):
            one.ask(commit(f"step {number}", {"a.md": text}))
        assert one.messages() == BEGUN
    return written


@pytest.fixture
def begun(store: Store, four_entries: Copy) -> Store:
    """The store, with that memory in it."""
    four_entries.copy_to(store)
    return store


@pytest.fixture(scope="module")
def five_entries(four_entries: Copy, tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """Have another worker append to that memory."""
    copy = Copy()
    four_entries.copy_to(copy)
    append(copy, tmp_path_factory.mktemp("appended") / "four")
    return copy


@pytest.fixture
def appended_to(store: Store, five_entries: Copy) -> Store:
    """The store, with the memory of five entries in it."""
    five_entries.copy_to(store)
    return store


def append(store: Store, folder: Path) -> None:
    """Append an entry as another worker."""
    with writer(store, folder) as other:
        other.ask(commit(f"of {folder.name}"))


def opened_cold(store: Store, folder: Path) -> object:
    with writer(store, folder / "two") as two:
        return two.messages()


def opened_through_a_file(store: Store, folder: Path) -> object:
    with writer(store, folder / "two", cold_open_bytes_max=64 * KIB) as two:
        return two.messages()


def caught_up(store: Store, folder: Path) -> object:
    with writer(store, folder / "two") as two:
        two.messages()
        append(store, folder / "three")
        two.new_lease()
        return two.messages()


def changes_asked_for(store: Store, folder: Path) -> object:
    agent = {"org_id": AGENT.org_id, "agent_id": AGENT.agent_id}
    with writer(store, folder / "two") as two:
        feed = two.ask(build(GetChangesRequest, **agent, request_id="r", enqueued_at=NOW_S, after=0))
        return [change.seq for change in feed.changes]


def folded(store: Store, folder: Path) -> object:
    with small_runs():
        return fold(store, folder / "scratch").folded


def verified(store: Store, folder: Path) -> object:
    verifier = Verifier(store, stock_git(), InlineExecutor(), lambda: NOW_S, folder / "scratch")
    return [*map(str, verifier.verify(AGENT).damages)]


Way = Callable[[Store, Path], object]

WAYS: tuple[Way, ...] = (
    opened_cold,
    opened_through_a_file,
    caught_up,
    changes_asked_for,
    folded,
    verified,
)


@pytest.fixture(scope="module")
def answers(five_entries: Copy, tmp_path_factory: pytest.TempPathFactory) -> Mapping[Way, object]:
    """What each way answers of a memory of five entries whose listing is right."""
    found: dict[Way, object] = {}
    for way in WAYS:
        copy = Copy()
        five_entries.copy_to(copy)
        found[way] = way(copy, tmp_path_factory.mktemp("sound"))
    return found


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_no_more_is_asked_for_than_was_listed(appended_to: Store, tmp_path: Path, way: Way) -> None:
    watched = WatchedStore(appended_to)

    way(watched, tmp_path)

    assert {LAYOUT.entry(seq) for seq in range(1, 5)} <= watched.listed.keys()
    assert watched.over == []


MISLISTED = [
    pytest.param(backend, way, seq, size, id=f"{backend}-{way.__name__}-{seq}-{size}")
    for turn, backend in enumerate((MEMORY, *SHARED))
    for place, way in enumerate(WAYS)
    for seq in (SMALL, LARGEST)
    for size in (FEWER, MORE)
    if LONG or ((seq == SMALL) == (size == FEWER)) == ((turn + place) % 2 == 0)
]
"""Each way on each backend with half of what there is, so that each meets all of it; LONG=1: with all."""


@pytest.mark.parametrize(("store", "way", "seq", "size"), MISLISTED, indirect=["store"])
def test_what_one_listing_says_otherwise_is_listed_again(
    appended_to: Store, answers: Mapping[Way, object], tmp_path: Path, way: Way, seq: int, size: int
) -> None:
    mislisting = MislistingStore(appended_to, LAYOUT.entry(seq), size, 1)

    assert way(mislisting, tmp_path) == answers[way]
    assert mislisting.left == 0


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("which", ["listed otherwise", "half of it given"])
@pytest.mark.parametrize("part", ["entry", "base"])
def test_a_check_calls_nothing_damaged_that_is_as_listed_where_it_looks_again(
    store: Store, tmp_path: Path, part: str, which: str, times: int
) -> None:
    with writer(store, tmp_path / "one") as one, small_runs():
        one.ask(create(first="1"))
        for number in range(4):
            one.ask(commit(f"step {number}", {"a.md": "abcd"[number]}))
        fold(store, tmp_path / "scratch")
    key = LAYOUT.entry(2) if part == "entry" else LAYOUT.base(4)
    doubtful: MislistingStore | CuttingStore = (
        MislistingStore(store, key, 100, times)
        if which == "listed otherwise"
        else CuttingStore(store, key, times)
    )

    assert verified(doubtful, tmp_path) == []
    assert doubtful.left == 0


def test_a_check_names_an_entry_of_which_half_is_given_each_time(begun: Store, tmp_path: Path) -> None:
    key = LAYOUT.entry(2)
    (found,) = begun.list(key)

    assert verified(CuttingStore(begun, key, 10**6), tmp_path) == [
        f"{key}: checksum: {key} is listed with {found.size} bytes, and has {found.size // 2}"
    ]


@pytest.mark.parametrize("size", [FEWER, MORE], ids=["fewer", "more"])
@pytest.mark.parametrize("seq", [SMALL, LARGEST], ids=["small", "large"])
def test_an_entry_that_every_listing_says_otherwise_is_damage_that_names_its_key(
    begun: Store, tmp_path: Path, seq: int, size: int
) -> None:
    key = LAYOUT.entry(seq)
    counters = Counters()
    mislisting = MislistingStore(MeteredStore(begun, counters), key, size, 10**6)

    with writer(mislisting, tmp_path / "two") as two, pytest.raises(MemoryDamagedError) as caught:
        two.ask(files())

    assert caught.value.details == {"key": key}
    assert f"is listed with {size} bytes" in str(caught.value)


def test_of_what_is_larger_than_listed_no_more_is_read_than_that(begun: Store, tmp_path: Path) -> None:
    key = LAYOUT.entry(3)
    others = sum(item.size for item in begun.list(LAYOUT.journal) if item.key != key)
    counters = Counters()

    with (
        writer(MislistingStore(MeteredStore(begun, counters), key, 100, 10**6), tmp_path / "two") as two,
        pytest.raises(MemoryDamagedError),
    ):
        two.ask(files())

    assert counters.snapshot()["store.get.bytes"] <= LOOKS * (others + 100)


@pytest.mark.parametrize(
    ("before", "after"), [("plain", "more"), ("more", "plain")], ids=["larger", "smaller"]
)
def test_a_base_that_is_replaced_before_it_is_read_is_no_damage(
    appended_to: Store, tmp_path: Path, before: str, after: str
) -> None:
    store = appended_to
    with small_runs():
        fold(store, tmp_path / "scratch")
    key = LAYOUT.base(4)
    plain = store.get(key, GET_BYTES_MAX).data
    made = {"plain": plain, "more": with_more_in_it(plain)}
    store.put(key, made[before], ALWAYS)
    replacing = ReplacingStore(store, key, made[after])

    with writer(replacing, tmp_path / "two") as two:
        assert two.messages() == [*BEGUN, "of four"]
        counted = two.counters.snapshot()

    assert replacing.other is None
    assert counted.get("journal.accelerator_passed_over", 0) == 0


def with_more_in_it(base: bytes) -> bytes:
    """Return a base with one object more."""
    entry = decode_entry(4, base)
    item = GitObject(Kind.BLOB, b"more")
    pack = join_packs([entry.pack, encode_pack({object_id(item): item}).data])
    return encode_joined((), entry.refs, entry.ledger_sha, bytes(present(pack)))


def test_a_base_that_every_listing_says_otherwise_is_passed_over(appended_to: Store, tmp_path: Path) -> None:
    with small_runs():
        fold(appended_to, tmp_path / "scratch")

    with writer(MislistingStore(appended_to, LAYOUT.base(4), 200, 10**6), tmp_path / "two") as two:
        assert two.messages() == [*BEGUN, "of four"]
        assert two.counters.snapshot()["journal.accelerator_passed_over"] == 1


@pytest.mark.parametrize("way", [opened_cold, caught_up], ids=lambda way: way.__name__)
def test_half_of_an_entry_is_asked_for_again(appended_to: Store, tmp_path: Path, way: Way) -> None:
    expected = [*BEGUN, "of four", *(["of three"] if way is caught_up else [])]
    cutting = CuttingStore(appended_to, LAYOUT.entry(6 if way is caught_up else 4), 1)

    assert way(cutting, tmp_path) == expected
    assert cutting.left == 0


def test_half_of_an_entry_each_time_is_damage_that_names_its_key(begun: Store, tmp_path: Path) -> None:
    key = LAYOUT.entry(4)

    with (
        writer(CuttingStore(begun, key, 10**6), tmp_path / "two") as two,
        pytest.raises(MemoryDamagedError) as caught,
    ):
        two.ask(files())

    assert caught.value.details == {"key": key}
