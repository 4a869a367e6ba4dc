"""What a restore writes was in the journal before: the entry names the commit that has it, and holds it not again."""

from __future__ import annotations

from pathlib import Path
from random import Random

from memrepo.wire.requests.writes import DeleteBranchRequest
from memrepo_worker.store.backends.local import LocalStore
from tests.support.folding import fold, small_runs
from tests.support.stock_git import git, restore
from tests.support.writers import AGENT, NOW_S, Writer, commit, create, delete, writer
from tests.support.writers import restore as restoring

LARGE = Random(4).randbytes(2 * 1024 * 1024).hex()  # 4 MiB
FOLDER = "acme/agent-1/repo.git"
DELETE_SIDE = DeleteBranchRequest(
    org_id=AGENT.org_id, agent_id=AGENT.agent_id, request_id="request-delete", enqueued_at=NOW_S, name="side"
)


def bytes_of_last_entry(store: LocalStore) -> int:
    return [line.size for line in store.list(f"{FOLDER}/journal/")][-1]


def test_a_large_file_is_not_stored_again(one: Writer, store: LocalStore, tmp_path: Path) -> None:
    first = one.ask(create(large=LARGE)).sha
    one.ask(commit("gone", {"large": None, "small": "1"}))

    made = one.ask(restoring(first))

    assert made.files_changed == ["large", "small"]
    assert bytes_of_last_entry(store) < 2000
    assert one.texts() == {"large": LARGE}
    with writer(store, tmp_path / "cold") as cold:
        assert cold.texts() == {"large": LARGE}
    restored = restore(tmp_path / "store" / FOLDER, tmp_path / "restored.git")
    assert git(restored, "cat-file", "blob", "main:large").decode() == LARGE
    git(restored, "fsck", "--strict")


def test_what_only_a_deleted_branch_had_is_referred_to_as_well(
    one: Writer, store: LocalStore, tmp_path: Path
) -> None:
    one.ask(create(first="1"))
    aside = one.ask(commit("aside", {"large": LARGE}, branch="side")).sha
    one.ask(DELETE_SIDE)

    one.ask(restoring(aside, ["large"]))

    assert bytes_of_last_entry(store) < 2000
    with writer(store, tmp_path / "cold") as cold:
        assert cold.texts() == {"first": "1", "large": LARGE}
    restored = restore(tmp_path / "store" / FOLDER, tmp_path / "restored.git")
    assert git(restored, "cat-file", "blob", "main:large").decode() == LARGE


def test_what_the_same_group_wrote_is_in_its_entry_once(
    one: Writer, store: LocalStore, tmp_path: Path
) -> None:
    one.ask(create(first="1"))
    written, removed = commit("large", {"large": LARGE}), commit("gone", {"large": None})
    outcomes = one.group(written, removed, restoring("main~1"))

    assert [outcome.created for outcome in outcomes] == [True, True, True]
    assert one.texts() == {"first": "1", "large": LARGE}
    with writer(store, tmp_path / "cold") as cold:
        assert cold.texts() == {"first": "1", "large": LARGE}


def test_a_memory_begun_again_refers_to_nothing_from_before(
    one: Writer, store: LocalStore, tmp_path: Path
) -> None:
    one.ask(create(first="1"))
    one.ask(delete())
    one.ask(create(second="2"))
    one.ask(commit("third"))
    one.ask(restoring("main~1"))
    with writer(store, tmp_path / "cold") as cold:
        assert cold.texts() == {"second": "2"}


def test_a_folded_journal_has_what_a_restore_refers_to(
    one: Writer, store: LocalStore, tmp_path: Path
) -> None:
    one.ask(create(first="1"))
    aside = one.ask(commit("aside", {"large": LARGE}, branch="side")).sha
    one.ask(DELETE_SIDE)
    for number in range(9):  # a run that is joined ends between what is referred to and what refers to it
        one.ask(commit(f"step {number}", {"first": str(number)}))
    one.ask(restoring(aside, ["large"]))
    for number in range(9):
        one.ask(commit(f"then {number}", {"first": str(number)}))

    with small_runs():
        fold(store, tmp_path / "scratch")
        with writer(store, tmp_path / "cold") as cold:
            assert cold.texts() == {"first": "8", "large": LARGE}
    assert [line.key for line in store.list(f"{FOLDER}/base/")] != []
    restored = restore(tmp_path / "store" / FOLDER, tmp_path / "restored.git")
    assert git(restored, "cat-file", "blob", "main:large").decode() == LARGE
