"""A delete frees every byte that was there before it, however often it breaks off, and nothing that came after."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from memrepo.errors import (
    RepoNotAdoptedError,
    RepoNotFoundError,
)
from memrepo_worker.migration.adoption import Adopter
from memrepo_worker.migration.transfer import Transfer
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.interface import RefusedError, Version, When
from tests.support.hooked_store import HookedStore
from tests.support.legacy_repository import LegacyRepository
from tests.support.merged_history import bundle_with_a_merge
from tests.support.stock_git import stock_git
from tests.support.writers import AGENT, NOW_S, Writer, commit, create, delete, files, history, writer

PREFIX = "acme/agent-1/repo.git/"
DAY_S = 24 * 3600.0


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


class BreakingStore(HookedStore):
    """Refuses to remove or overwrite, so that every cleaning breaks off; ``bases`` says whether it takes a base."""

    bases = True

    def put(self, key: str, data: bytes, when: When) -> Version:
        if ("/journal/" in key and not data) or ("/base/" in key and not self.bases):
            raise RefusedError("this store breaks off")
        return super().put(key, data, when)

    def delete(self, keys: Iterable[str]) -> None:
        raise RefusedError("this store breaks off")


def sizes(store: LocalStore) -> dict[str, int]:
    return {item.key.removeprefix(PREFIX): item.size for item in store.list(PREFIX)}


@pytest.mark.parametrize("bases", [[False, True], [True, True]], ids=["before its base", "after its base"])
def test_a_delete_that_broke_off_twice_days_apart_is_finished_by_whoever_opens_the_journal(
    bases: list[bool], store: LocalStore, tmp_path: Path
) -> None:
    with writer(store, tmp_path / "begin") as one:
        one.ask(create(secret="x"))
    for day, takes_bases in enumerate(bases):
        breaking = BreakingStore(store)
        breaking.bases = takes_bases
        now_s = NOW_S + 3 * day * DAY_S
        with writer(breaking, tmp_path / f"breaking-{day}", now_s) as one, pytest.raises(RefusedError):
            one.ask(files() if day else delete())

    with writer(store, tmp_path / "last", now_s=NOW_S + 9 * DAY_S) as last, suppress(RepoNotFoundError):
        last.ask(files())

    found = sizes(store)
    assert found["journal/00000000000000000001.bundle"] == 0, "the content is gone"
    assert [key for key in found if key.startswith("base/")] == ["base/00000000000000000002.bundle"]


def test_a_seal_is_known_by_its_base_also_when_the_base_names_no_delete(
    store: LocalStore, tmp_path: Path
) -> None:
    """As one left behind by a version that forgot the delete's own line before it wrote the base."""
    from memrepo_worker.journal.entry import encode_entry
    from memrepo_worker.store.interface import ALWAYS

    with writer(BreakingStore(store), tmp_path / "breaking") as one:
        one.ask(create(secret="x"))
        with pytest.raises(RefusedError):
            one.ask(delete())
    store.put(f"{PREFIX}base/{2:020d}.bundle", encode_entry({}, {}, (), ()), ALWAYS)

    with writer(store, tmp_path / "last") as last:
        with pytest.raises(RepoNotFoundError):
            last.ask(files())
        assert last.ask(create(new="life")).created

    assert sizes(store)["journal/00000000000000000001.bundle"] == 0


def test_a_repository_that_another_server_begins_after_a_delete_is_left_alone_and_told(
    store: LocalStore, tmp_path: Path
) -> None:
    with writer(store, tmp_path / "one") as one:
        one.ask(create(ours="x"))
        one.ask(delete())
    legacy = LegacyRepository(store, AGENT.org_id, AGENT.agent_id)
    legacy.create({"theirs.md": b"kept\n"})
    before = {key: size for key, size in sizes(store).items() if not key.startswith(("journal/", "base/"))}

    with writer(store, tmp_path / "two") as two:
        for request in (files(), history(), commit("x"), create(), delete(), commit("y")):
            with pytest.raises(RepoNotAdoptedError, match="store adopt acme agent-1"):
                two.ask(request)

    after = sizes(store)
    assert {key: after.get(key) for key in before} == before


def test_a_write_that_was_refused_beside_another_servers_repository_stays_refused(
    store: LocalStore, tmp_path: Path
) -> None:
    refused = commit("x", create_repo_if_missing=True)
    with writer(store, tmp_path / "one") as one:
        one.ask(create())
        one.ask(delete())
        LegacyRepository(store, AGENT.org_id, AGENT.agent_id).create({"theirs.md": b"kept\n"})
        with pytest.raises(RepoNotAdoptedError):
            one.ask(refused)
    for key in list(sizes(store)):
        if not key.startswith(("journal/", "base/")):
            store.delete([PREFIX + key])

    with writer(store, tmp_path / "two") as two, pytest.raises(RepoNotAdoptedError):
        two.ask(refused)


def test_a_delete_that_broke_off_takes_what_an_adopted_repository_left_behind_with_it(
    store: LocalStore, tmp_path: Path
) -> None:
    LegacyRepository(store, AGENT.org_id, AGENT.agent_id).create({"theirs.md": b"old\n"})
    with ThreadPoolExecutor(2) as executor:
        Adopter(store, stock_git(), executor, lambda: NOW_S).adopt(AGENT)
    with writer(BreakingStore(store), tmp_path / "breaking") as one, pytest.raises(RefusedError):
        one.ask(delete())

    with writer(store, tmp_path / "last") as last, pytest.raises(RepoNotFoundError):
        last.ask(files())

    assert sorted(sizes(store)) == [
        "base/00000000000000000002.bundle",
        "journal/00000000000000000001.bundle",
        "journal/00000000000000000002.bundle",
    ]


def assert_only_the_seal_keeps_bytes(store: LocalStore) -> None:
    found = sizes(store)
    assert len([key for key in found if key.startswith("base/")]) == 1, found
    assert len([key for key, size in found.items() if key.startswith("journal/") and size]) == 1, found


def test_every_delete_of_an_agent_frees_its_bytes(one: Writer, store: LocalStore) -> None:
    for _ in range(3):
        one.ask(create(secret="x"))
        one.ask(delete())
        assert_only_the_seal_keeps_bytes(store)


def test_a_writer_that_cleaned_one_delete_cleans_the_next_too(
    one: Writer, store: LocalStore, tmp_path: Path
) -> None:
    with writer(store, tmp_path / "two") as two:
        one.ask(create())
        one.ask(delete())
        with suppress(RepoNotFoundError):
            two.ask(files())
        one.ask(create(secret="x"))
        request = delete()
        one.ask(request)
        two.new_lease()
        two.ask(request)
    assert_only_the_seal_keeps_bytes(store)


def test_a_seal_holds_its_ledger_alone_whatever_its_group_had_committed(
    one: Writer, store: LocalStore
) -> None:
    one.ask(create())

    committed, _, deleted = one.group(commit("secret", {"secret": "content" * 50}), files(), delete())

    assert committed.created
    assert deleted is None
    assert_only_the_seal_keeps_bytes(store)
    seal = next(key for key, size in sizes(store).items() if key.startswith("journal/") and size)
    data = store.get(f"{PREFIX}{seal}").data
    assert int.from_bytes(data[data.index(b"PACK") + 8 :][:4]) == 1, "the seal holds more than its ledger"


def test_an_import_waits_until_an_unfinished_delete_has_freed_its_bytes(
    store: LocalStore, transfer: Transfer, tmp_path: Path
) -> None:
    hooked = HookedStore(store)
    with writer(hooked, tmp_path / "one") as one:
        one.ask(create(secret="x"))

        def crash() -> None:
            raise KeyboardInterrupt

        hooked.after_put = crash
        with suppress(KeyboardInterrupt):
            one.ask(delete())
        bundle = bundle_with_a_merge(tmp_path)

        from memrepo.errors import RepoExistsError

        with pytest.raises(RepoExistsError, match="being deleted"):
            transfer.import_(AGENT, bundle)
        one.new_lease()
        with suppress(RepoNotFoundError):
            one.ask(files())
        transfer.import_(AGENT, bundle)

    assert sizes(store)["journal/00000000000000000001.bundle"] == 0


def test_a_worker_that_met_a_deleted_memory_sees_an_import(
    one: Writer, transfer: Transfer, tmp_path: Path
) -> None:
    one.ask(create())
    one.ask(delete())

    transfer.import_(AGENT, bundle_with_a_merge(tmp_path))

    assert one.ask(history())[0].message == "merge"
