"""Every sentence of the store interface's contract, on every backend."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from memrepo_worker.store.interface import (
    ABSENT,
    ALWAYS,
    ListedObject,
    NotThereError,
    PreconditionFailedError,
    Store,
    StoredObject,
    Version,
)
from memrepo_worker.store.open import open_store
from tests.conformance.racers import PROCESSES, RacingProcesses, body_of, race_threads

KEY = "acme/agent-42/repo.git/journal/00000000000000000001.bundle"


def keys(store: Store, prefix: str = "", start_after: str = "") -> list[str]:
    return [line.key for line in store.list(prefix, start_after)]


def put_all(store: Store, names: list[str]) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda name: store.put(name, b"", ALWAYS), names))


class TestGet:
    def test_returns_the_bytes_and_the_version_that_were_put(self, store: Store) -> None:
        data = bytes(range(256)) * 10
        version = store.put(KEY, data, ABSENT)
        assert store.get(KEY) == StoredObject(data, version)

    def test_says_when_there_is_no_object(self, store: Store) -> None:
        with pytest.raises(NotThereError):
            store.get(KEY)

    def test_says_so_for_the_folder_of_an_object_too(self, store: Store) -> None:
        store.put(KEY, b"x", ABSENT)
        with pytest.raises(NotThereError):
            store.get("acme/agent-42")

    def test_knows_an_object_without_bytes_from_no_object(self, store: Store) -> None:
        store.put(KEY, b"", ABSENT)
        assert store.get(KEY).data == b""


class TestPutIfAbsent:
    def test_fails_on_an_object_and_leaves_it(self, store: Store) -> None:
        version = store.put(KEY, b"first", ABSENT)
        with pytest.raises(PreconditionFailedError):
            store.put(KEY, b"second", ABSENT)
        assert store.get(KEY) == StoredObject(b"first", version)

    def test_fails_on_an_object_without_bytes_too(self, store: Store) -> None:
        store.put(KEY, b"", ABSENT)
        with pytest.raises(PreconditionFailedError):
            store.put(KEY, b"late", ABSENT)
        assert store.get(KEY).data == b""

    def test_fails_on_an_object_with_the_same_bytes(self, store: Store) -> None:
        store.put(KEY, b"same", ABSENT)
        with pytest.raises(PreconditionFailedError):
            store.put(KEY, b"same", ABSENT)

    def test_succeeds_again_after_a_delete(self, store: Store) -> None:
        store.put(KEY, b"first", ABSENT)
        store.delete([KEY])
        store.put(KEY, b"second", ABSENT)
        assert store.get(KEY).data == b"second"

    @pytest.mark.parametrize("size", [(1 << 20) + 1, 9 << 20])
    def test_holds_for_large_objects(self, store: Store, size: int) -> None:
        first, second = b"1" * size, b"2" * size
        version = store.put(KEY, first, ABSENT)
        with pytest.raises(PreconditionFailedError):
            store.put(KEY, second, ABSENT)
        assert store.get(KEY) == StoredObject(first, version)


class TestPutOfAVersion:
    def test_succeeds_while_the_object_is_that_version(self, store: Store) -> None:
        first = store.put(KEY, b"first", ABSENT)
        second = store.put(KEY, b"second", first)
        assert second != first
        assert store.get(KEY) == StoredObject(b"second", second)

    def test_fails_once_it_is_another_and_writes_nothing(self, store: Store) -> None:
        first = store.put(KEY, b"first", ABSENT)
        second = store.put(KEY, b"second", ALWAYS)
        with pytest.raises(PreconditionFailedError):
            store.put(KEY, b"third", first)
        assert store.get(KEY) == StoredObject(b"second", second)

    def test_fails_once_it_is_gone_and_writes_nothing(self, store: Store) -> None:
        first = store.put(KEY, b"first", ABSENT)
        store.delete([KEY])
        with pytest.raises(PreconditionFailedError):
            store.put(KEY, b"second", first)
        with pytest.raises(NotThereError):
            store.get(KEY)


class TestPutAlways:
    def test_writes_whatever_is_there(self, store: Store) -> None:
        store.put(KEY, b"first", ALWAYS)
        second = store.put(KEY, b"second", ALWAYS)
        assert store.get(KEY) == StoredObject(b"second", second)

    def test_takes_the_bytes_away_but_not_the_key(self, store: Store) -> None:
        store.put(KEY, b"an entry", ABSENT)
        store.put(KEY, b"", ALWAYS)
        assert list(store.list("acme/")) == [ListedObject(KEY, 0)]
        with pytest.raises(PreconditionFailedError):
            store.put(KEY, b"a paused writer's entry", ABSENT)


class TestRaces:
    def test_of_creates_by_threads_have_one_winner_whose_bytes_are_stored(self, store: Store) -> None:
        for attempt in range(3):
            key = f"race/{attempt}"
            won = race_threads(store, key, ABSENT, racers=6)
            assert won.count(True) == 1
            assert store.get(key).data == body_of(won.index(True))

    def test_of_two_writers_have_one_winner_many_times(self, store: Store) -> None:
        for attempt in range(30):
            won = race_threads(store, f"race/{attempt}", ABSENT, racers=2)
            assert won.count(True) == 1

    def test_of_creates_by_processes_have_one_winner_whose_bytes_are_stored(
        self, shared_address: str, processes: RacingProcesses
    ) -> None:
        store = open_store(shared_address)
        for attempt in range(3):
            key = f"race/{attempt}"
            won = processes.race(shared_address, key)
            assert len(won) == PROCESSES
            assert won.count(True) == 1
            assert store.get(key).data == body_of(won.index(True))

    def test_of_changes_to_one_version_have_one_winner(self, store: Store) -> None:
        version = store.put(KEY, b"", ABSENT)
        won = race_threads(store, KEY, version, racers=4)
        assert won.count(True) == 1
        assert store.get(KEY).data == body_of(won.index(True))


class TestAtomicity:
    def test_a_reader_sees_a_whole_object_while_others_write(self, store: Store) -> None:
        bodies = [bytes([letter]) * 200_000 for letter in b"abc"]
        store.put(KEY, bodies[0], ALWAYS)
        with ThreadPoolExecutor(3) as writers:
            writing = [writers.submit(store.put, KEY, body, ALWAYS) for body in bodies * 8]
            while not all(one.done() for one in writing):
                assert store.get(KEY).data in bodies
        assert all(one.result() for one in writing)

    def test_a_reader_sees_a_new_object_whole_or_not_at_all(self, store: Store) -> None:
        body = b"x" * 500_000
        with ThreadPoolExecutor(2) as writers:
            writing = [writers.submit(store.put, f"new/{number}", body, ABSENT) for number in range(10)]
            while not all(one.done() for one in writing):
                assert {line.size for line in store.list("new/")} <= {len(body)}
        assert all(isinstance(one.result(), Version) for one in writing)


class TestConsistency:
    def test_a_put_is_seen_by_every_later_get_also_after_a_miss(self, store: Store) -> None:
        with pytest.raises(NotThereError):
            store.get(KEY)
        store.put(KEY, b"first", ABSENT)
        assert store.get(KEY).data == b"first"
        store.put(KEY, b"second", ALWAYS)
        assert store.get(KEY).data == b"second"

    def test_a_delete_is_seen_by_every_later_get_and_list(self, store: Store) -> None:
        store.put(KEY, b"x", ABSENT)
        store.delete([KEY])
        assert keys(store) == []
        with pytest.raises(NotThereError):
            store.get(KEY)

    def test_a_listing_beside_a_writer_has_no_gap(self, store: Store) -> None:
        """A journal is written number by number: a number without those before it reads as a lost entry."""
        numbers = range(150)
        with ThreadPoolExecutor(1) as thread:
            written = thread.submit(lambda: [store.put(f"a/{n:05d}", b"", ABSENT) for n in numbers])
            while not written.done():
                listed = keys(store, "a/")
                assert listed == [f"a/{n:05d}" for n in range(len(listed))]
        assert keys(store, "a/") == [f"a/{n:05d}" for n in numbers]

    def test_a_put_is_seen_by_every_later_list_also_after_an_empty_one(self, store: Store) -> None:
        assert keys(store, "acme/") == []
        store.put(KEY, b"x", ABSENT)
        assert keys(store, "acme/") == [KEY]

    def test_who_opened_the_store_elsewhere_sees_the_same(self, shared_address: str) -> None:
        one, other = open_store(shared_address), open_store(shared_address)
        with pytest.raises(NotThereError):
            other.get(KEY)
        version = one.put(KEY, b"x", ABSENT)
        assert other.get(KEY) == StoredObject(b"x", version)
        assert keys(other) == [KEY]
        other.delete([KEY])
        assert keys(one) == []


class TestList:
    def test_yields_keys_of_a_folder_in_order_of_their_bytes_with_sizes(self, store: Store) -> None:
        sizes = {"a/b-1": 3, "a/b": 0, "a/B": 1, "a/b.c": 2, "a/b_c": 5, "a/10": 4, "a/9": 6, "a/b=@+": 7}
        for key, size in sizes.items():
            store.put(key, b"x" * size, ABSENT)
        assert list(store.list("a/")) == [ListedObject(key, sizes[key]) for key in sorted(sizes)]

    def test_yields_every_folder_once_and_whole(self, store: Store) -> None:
        names = ["a/b", "a-b/c", "a.b/c", "a/b-c", "a0/x", "b"]
        put_all(store, names)
        assert sorted(keys(store)) == sorted(names)

    def test_yields_only_keys_that_begin_with_the_prefix(self, store: Store) -> None:
        put_all(store, ["a/b/1", "a/b/2", "a/bc/1", "a/c", "b/b/1"])
        assert keys(store, "a/b") == ["a/b/1", "a/b/2", "a/bc/1"]
        assert keys(store, "a/b/") == ["a/b/1", "a/b/2"]
        assert keys(store, "a/b/2") == ["a/b/2"]
        assert keys(store, "c") == []

    def test_takes_every_character_that_an_id_may_have_for_itself(self, store: Store) -> None:
        put_all(store, ["Az09._@+=-/1", "Az09._@ =-/2"])
        assert keys(store, "Az09._@+=-/") == ["Az09._@+=-/1"]
        assert list(store.folders("Az09._@+", "", 5).names) == ["Az09._@+=-"]

    def test_yields_only_keys_after_a_given_one(self, store: Store) -> None:
        put_all(store, ["a/1", "a/2", "a/3", "a/4/x", "b/1"])
        assert keys(store, "a/", "a/2") == ["a/3", "a/4/x"]
        assert keys(store, "a/", "a/25") == ["a/3", "a/4/x"]
        assert keys(store, "a/4/", "a/4/w") == ["a/4/x"]
        assert keys(store, "a/", "a/3") == ["a/4/x"]
        assert keys(store, "a/", "b") == []

    def test_and_delete_reach_more_objects_than_one_request_does(self, store: Store) -> None:
        names = [f"many/{number:05d}" for number in range(1010)]
        put_all(store, names)
        assert keys(store, "many/") == names
        assert keys(store, "many/", names[1004]) == names[1005:]
        store.delete(names[:1005])
        assert keys(store, "many/") == names[1005:]


class TestFolders:
    NAMES = ("ann", "ann+1", "ann-1", "ann-1.b", "ann-10", "annA", "Bob", "bob", "x" * 128, "X" * 128)

    def test_are_told_by_name_whatever_they_hold(self, store: Store) -> None:
        put_all(store, ["org/a/1", "org/a/2/3", "org/b/1", "org/file", "orga/c/1", "other/d/1"])

        assert set(store.folders("org/", "", 10).names) == {"a", "b"}
        none = store.folders("nobody/", "", 10)
        assert (list(none.names), none.has_more) == ([], False)

    def test_of_many_are_told_each_once_over_pages_of_any_size(self, store: Store) -> None:
        put_all(store, [f"org/{name}/repo.git/{number}" for name in self.NAMES for number in (1, 2)])
        for names_max in (1, 2, 3, 9, 10, 11):
            told: list[str] = []
            while True:
                page = store.folders("org/", told[-1] if told else "", names_max)
                told += page.names
                assert 1 <= len(page.names) <= names_max
                if not page.has_more:
                    break
            assert sorted(told) == sorted(self.NAMES)

    def test_are_told_that_begin_with_the_prefix(self, store: Store) -> None:
        put_all(store, [f"org/{name}/repo.git/1" for name in self.NAMES])

        first = store.folders("org/ann-1", "", 2)
        assert first.has_more
        rest = store.folders("org/ann-1", first.names[-1], 2)
        assert sorted([*first.names, *rest.names]) == ["ann-1", "ann-1.b", "ann-10"]
        assert not rest.has_more
        assert not store.folders("org/c", "", 2).names


class TestDelete:
    def test_of_what_is_not_there_is_no_error(self, store: Store) -> None:
        store.put(KEY, b"x", ABSENT)
        store.delete(["acme/none", KEY, "none/none/none"])
        assert keys(store) == []

    def test_of_nothing_does_nothing(self, store: Store) -> None:
        store.put(KEY, b"x", ABSENT)
        store.delete([])
        assert keys(store) == [KEY]


class TestKeys:
    def test_of_all_that_ids_may_hold_are_kept_apart(self, store: Store) -> None:
        names = [
            f"{org}/{agent}/x"
            for org in (
                "acme",
                "Acme",
                "ACME",
                "con",
                "a.b",
                "a@b+c=d-e_f",
                "A" * 128,
                "a" * 128,
                ".memrepo-probe",
            )
            for agent in ("0", "x.", "X")
        ]
        put_all(store, names)
        assert sorted(keys(store)) == sorted(names)
        store.put(names[0], names[0].encode(), ALWAYS)
        assert store.get(names[0]).data == names[0].encode()
        assert store.get(names[1]).data == b""


def test_the_name_tells_stores_apart_and_holds_no_secret(shared_address: str) -> None:
    name = open_store(shared_address).name
    assert name.startswith(shared_address.split("?", maxsplit=1)[0])
    assert "secret" not in name


def test_every_method_may_be_called_from_many_threads_at_once(store: Store) -> None:
    def use(number: int) -> bool:
        key = f"threads/{number}"
        version = store.put(key, body_of(number), ABSENT)
        seen = store.get(key) == StoredObject(body_of(number), version) and key in keys(store, "threads/")
        store.delete([key])
        return seen

    with ThreadPoolExecutor(12) as threads:
        assert all(threads.map(use, range(36)))
    assert keys(store) == []
