"""What a delete leaves, its seal and the seal's base: where one of them is lost or damaged, it is named, and mended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from memrepo.errors import MemoryDamagedError
from memrepo_worker.inspection.verifying import Verified, Verifier
from memrepo_worker.journal.layout import Layout
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.interface import ALWAYS
from tests.damage.conftest import Run
from tests.support.folding import fold, small_runs
from tests.support.stock_git import stock_git
from tests.support.writers import AGENT, NOW_S, commit, create, delete, writer

LAYOUT = Layout.of(AGENT.org_id, AGENT.agent_id)
SEAL = 4
BASE = LAYOUT.base(SEAL)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def deleted(store: LocalStore, tmp_path: Path) -> LocalStore:
    """A memory of three entries that was deleted: three markers, the seal, and its base."""
    with writer(store, tmp_path / "deleting") as one:
        one.ask(create(human="likes tea"))
        one.ask(commit("more", {"a.md": "b"}))
        one.ask(commit("and more", {"a.md": "c"}))
        one.ask(delete())
    assert {item.key for item in store.list(LAYOUT.prefix) if item.size} == {LAYOUT.entry(SEAL), BASE}
    return store


Verify = Callable[[], list[tuple[str, str]]]


@pytest.fixture
def verify(store: LocalStore, tmp_path: Path) -> Iterator[Verify]:
    """Verify the memory; return the key and kind of each damage."""
    with ThreadPoolExecutor(4) as executor:

        def found() -> Verified:
            return Verifier(store, stock_git(), executor, lambda: NOW_S, tmp_path / "scratch").verify(AGENT)

        yield lambda: [(each.key, each.kind.value) for each in found().damages]


def begin_anew(store: LocalStore, folder: Path) -> None:
    """Have a memory created on top of the delete, and something committed to it."""
    with writer(store, folder) as one:
        one.ask(create(human="likes coffee"))
        one.ask(commit("again", {"a.md": "d"}))


def flip(store: LocalStore, key: str) -> None:
    data = store.get(key).data
    store.put(key, data[:-30] + bytes([data[-30] ^ 1]) + data[-29:], ALWAYS)


@pytest.mark.parametrize("is_begun_anew", [False, True])
def test_the_base_of_a_seal_that_is_lost_is_named(
    deleted: LocalStore, tmp_path: Path, verify: Verify, *, is_begun_anew: bool
) -> None:
    if is_begun_anew:
        begin_anew(deleted, tmp_path / "second")
    assert verify() == []

    deleted.delete([BASE])

    assert verify() == [(BASE, "missing")]


@pytest.mark.parametrize("is_begun_anew", [False, True])
def test_who_asks_a_worker_that_never_had_it_is_told_the_key_of_the_base(
    deleted: LocalStore, tmp_path: Path, *, is_begun_anew: bool
) -> None:
    if is_begun_anew:
        begin_anew(deleted, tmp_path / "second")
    deleted.delete([BASE])

    with writer(deleted, tmp_path / "cold") as one, pytest.raises(MemoryDamagedError) as caught:
        one.messages()

    assert caught.value.details == {"key": BASE}
    assert f"at {BASE}: the base of the delete that ends with entry {SEAL} is not there" in str(caught.value)


def test_who_asks_for_a_memory_with_a_marker_where_no_delete_was_is_told_the_markers_key(
    store: LocalStore, tmp_path: Path
) -> None:
    begin_anew(store, tmp_path / "first")
    store.put(LAYOUT.entry(1), b"", ALWAYS)

    with writer(store, tmp_path / "cold") as one, pytest.raises(MemoryDamagedError) as caught:
        one.messages()

    assert caught.value.details == {"key": LAYOUT.entry(1)}


def test_it_is_named_also_where_a_later_base_stands_for_all(
    deleted: LocalStore, tmp_path: Path, verify: Verify
) -> None:
    with small_runs():
        with writer(deleted, tmp_path / "second") as one:
            one.ask(create())
            for number in range(20):
                one.ask(commit(f"step {number}", {"a.md": f"{number}"}))
        fold(deleted, tmp_path / "folding")
        assert verify() == []

        deleted.delete([BASE])

        assert verify() == [(BASE, "missing")]


@pytest.mark.parametrize("key", [BASE, LAYOUT.entry(SEAL)])
@pytest.mark.parametrize("is_begun_anew", [False, True])
def test_what_is_changed_of_a_seal_is_named_once(
    deleted: LocalStore, tmp_path: Path, verify: Verify, key: str, *, is_begun_anew: bool
) -> None:
    if is_begun_anew:
        begin_anew(deleted, tmp_path / "second")

    flip(deleted, key)

    assert verify() == [(key, "checksum")]


@pytest.mark.parametrize("is_begun_anew", [False, True])
def test_a_seal_that_is_lost_is_named_and_not_its_base(
    deleted: LocalStore, tmp_path: Path, verify: Verify, *, is_begun_anew: bool
) -> None:
    if is_begun_anew:
        begin_anew(deleted, tmp_path / "second")

    deleted.delete([LAYOUT.entry(SEAL)])

    assert verify() == [(LAYOUT.entry(SEAL), "missing")]


def test_what_is_created_by_a_warm_worker_where_the_base_was_lost_opens_cold(
    store: LocalStore, tmp_path: Path, verify: Verify
) -> None:
    with writer(store, tmp_path / "warm") as one:
        first = create(human="likes tea")
        made = one.ask(first)
        one.ask(delete())
        store.delete([LAYOUT.base(2)])

        one.ask(create(human="likes coffee"))
        one.ask(commit("more", {"a.md": "b"}))

    with writer(store, tmp_path / "cold") as other:
        assert other.texts()["a.md"] == "b"
        assert other.ask(first).sha == made.sha  # what was settled before the delete is known still
    assert verify() == []


def test_a_deleted_memory_is_verified_by_its_name(deleted: LocalStore, run: Run) -> None:
    assert run("verify", AGENT.org_id, AGENT.agent_id) == (0, f"{AGENT}: deleted, 4 entries, sound\n", "")
    assert run("verify", "--all") == (0, "", "")
    assert run("verify", AGENT.org_id, "nobody")[0] == 3

    deleted.delete([BASE])
    code, told, errors = run("verify", AGENT.org_id, AGENT.agent_id)

    assert (code, errors) == (1, f"Error: {AGENT} is damaged: 1 object\n")
    assert told.startswith(f"{BASE}: missing: ")
    assert run("verify", "--all")[0] == 1


def test_of_a_deleted_memory_a_fold_says_that_it_was_deleted(deleted: LocalStore, run: Run) -> None:
    code, _, errors = run("fold", AGENT.org_id, AGENT.agent_id)

    assert (code, errors) == (3, f"Error: {AGENT} has no memory: it was deleted, or never begun\n")


def test_a_fold_that_meets_damage_says_what_names_it(deleted: LocalStore, tmp_path: Path, run: Run) -> None:
    begin_anew(deleted, tmp_path / "second")
    flip(deleted, LAYOUT.entry(SEAL + 1))
    with small_runs():
        with writer(deleted, tmp_path / "second") as one:
            for number in range(20):
                one.ask(commit(f"step {number}", {"a.md": f"{number}"}))

        code, _, errors = run("fold", AGENT.org_id, AGENT.agent_id)
        _, told, _ = run("fold", "--all")

    assert code == 1
    hint = f"run memrepo store verify {AGENT.org_id} {AGENT.agent_id}"
    assert hint in errors
    assert hint in told
