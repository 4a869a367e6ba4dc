"""A merge moves a branch, so that one applied twice, or in part, would show: whatever happens on the way, it is not."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from memrepo import MergeConflictError, MergeResult, TooLargeError
from memrepo.limits import KIB, Limits
from memrepo.wire import operations
from memrepo.wire.requests.merges import MergeRequest, PreviewMergeRequest
from memrepo_worker.bounds import MergeBounds
from memrepo_worker.git import edits
from memrepo_worker.git.merging.contents import Hunk, Lines, MergeBudget
from memrepo_worker.git.pack_files import OPENED_PREFIX
from memrepo_worker.journal.ledger import encode_lines
from memrepo_worker.service import merging
from memrepo_worker.store.backends.local import LocalStore
from tests.support.hooked_store import HookedStore, answer_lost
from tests.support.stock_git import git, restore
from tests.support.writers import AGENT, NOW_S, Writer, commit, create, delete, files, writer

HEAD = {"org_id": AGENT.org_id, "agent_id": AGENT.agent_id, "enqueued_at": NOW_S}


def merge(request_id: str, source: str = "side", **body: Any) -> MergeRequest:
    return operations.build(MergeRequest, **HEAD, request_id=request_id, source=source, **body)


def ask(one: Writer, request: MergeRequest) -> MergeResult:
    made = one.ask(request)
    assert isinstance(made, MergeResult)
    return made


def part(one: Writer, ours: str = "X\n1\n2\n", theirs: str = "0\n1\nY\n") -> None:
    """Have two branches change one file."""
    one.ask(create("request-a", log="0\n1\n2\n"))
    one.ask(commit("theirs", {"log": theirs, "b": "b"}, branch="side"))
    one.ask(commit("ours", {"log": ours}))


def die() -> None:
    """End as nothing in the service expects."""
    raise ZeroDivisionError


def test_a_merge_that_is_in_its_group_twice_is_applied_once(one: Writer) -> None:
    part(one)
    first, again, after = one.group(*[merge("request-b")] * 2, commit("after", {"log": "done\n"}))

    assert first == again
    assert (first.kind, after.parent_sha) == ("merge", first.sha)
    assert one.texts() == {"log": "done\n", "b": "b"}


def test_a_merge_sees_the_branches_as_the_requests_before_it_in_its_group_left_them(one: Writer) -> None:
    one.ask(create("request-a", log="0\n1\n2\n"))
    *_, made, late = one.group(
        commit("theirs", {"log": "0\n1\nY\n"}, branch="side"),
        commit("ours", {"log": "X\n1\n2\n"}),
        merge("request-b"),
        merge("request-c", squash=True),
    )

    assert (made.kind, late.kind) == ("merge", "up_to_date")
    assert one.texts() == {"log": "X\n1\nY\n"}


@pytest.mark.parametrize(
    "body",
    [{}, {"squash": True}, {"favor": "union"}, {"fast_forward": "never"}],
    ids=["merge", "squash", "union", "no fast-forward"],
)
def test_a_merge_of_a_worker_that_died_before_the_answer_is_not_made_again_by_the_next(
    store: LocalStore, tmp_path: Path, body: dict[str, Any]
) -> None:
    hooked = HookedStore(store)
    with writer(hooked, tmp_path / "a") as a:
        part(a)
        hooked.after_put = die
        with pytest.raises(ZeroDivisionError):
            a.ask(merge("request-b", **body))

    with writer(store, tmp_path / "b") as b:
        made = ask(b, merge("request-b", **body))
        again = ask(b, merge("request-b", **body))

        assert made == again
        assert made.kind == ("squash" if "squash" in body else "merge")
        assert made.files_changed == ["b", "log"]
        assert b.texts() == {"log": "X\n1\nY\n", "b": "b"}


def test_a_fast_forward_whose_answer_was_lost_is_told_with_what_it_changed(
    store: LocalStore, tmp_path: Path
) -> None:
    hooked = HookedStore(store)
    with writer(hooked, tmp_path / "a") as a:
        a.ask(create("request-a", log="0\n"))
        ahead = a.ask(commit("ahead", {"b": "b"}, branch="side"))
        hooked.after_put = answer_lost
        first = ask(a, merge("request-b"))
        a.ask(commit("later", {"log": "1\n"}))

    with writer(store, tmp_path / "b") as b:
        assert ask(b, merge("request-b")) == first
        assert (first.kind, first.sha, first.files_changed) == ("fast_forward", ahead.sha, ["b"])
        assert b.texts() == {"log": "1\n", "b": "b"}


@pytest.mark.parametrize("asked", ["merge", "preview"])
def test_a_merge_walks_the_commits_of_both_sides_once(store: LocalStore, tmp_path: Path, asked: str) -> None:
    with writer(store, tmp_path / "cache", walk_entries_max=60) as one:
        one.ask(create("request-a", a="0", b="0"))
        one.group(*(commit("theirs", {"a": str(number)}, branch="side") for number in range(1, 21)))
        one.group(*(commit("ours", {"b": str(number)}) for number in range(1, 21)))

        if asked == "preview":
            one.ask(operations.build(PreviewMergeRequest, **HEAD, request_id="request-p", source="side"))
        else:
            assert ask(one, merge("request-b")).kind == "merge"

        assert "bounds.walk_entries" not in one.counters.snapshot()


def test_a_merge_that_lost_its_number_is_made_anew_on_what_won(store: LocalStore, tmp_path: Path) -> None:
    hooked = HookedStore(store)
    with writer(hooked, tmp_path / "a") as a, writer(store, tmp_path / "b") as b:
        part(a)
        won: list[str] = []
        hooked.before_put = lambda: won.append(b.ask(commit("won", {"c": "c"})).sha)
        made = ask(a, merge("request-b"))

        assert made.parents[0] == won[0]
        assert a.texts() == {"log": "X\n1\nY\n", "b": "b", "c": "c"}


def test_the_same_merge_of_the_same_parents_is_the_same_commit(tmp_path: Path) -> None:
    shas = []
    for name in ("a", "b"):
        with writer(LocalStore(tmp_path / f"store-{name}"), tmp_path / name) as one:
            one.ask(create("request-a", log="0\n1\n2\n"))
            one.ask(commit("theirs", {"log": "0\n1\nY\n"}, branch="side", request_id="request-b"))
            one.ask(commit("ours", {"log": "X\n1\n2\n"}, request_id="request-c"))
            shas.append(ask(one, merge("request-d")).sha)

    assert shas[0] == shas[1]


def test_a_conflict_is_told_alike_again_and_fails_alone_in_its_group(one: Writer) -> None:
    part(one, theirs="Y\n1\n2\n")
    refused, after = one.group(merge("request-b"), commit("after", {"log": "Y\n1\n2\n"}))
    again = one.group(merge("request-b"))[0]

    assert type(refused) is type(again) is MergeConflictError
    assert (refused.message, refused.details) == (again.message, again.details)
    assert after.created
    assert ask(one, merge("request-c")).kind == "merge"


def test_what_is_told_of_many_conflicts_stays_small_as_each_refusal_is_kept_in_the_ledger(
    one: Writer,
) -> None:
    def texts(mark: str) -> dict[str, str | None]:
        text = "".join(f"{number if number % 4 else mark}\n" for number in range(100))
        return {f"file-{number:03d}": text for number in range(120)}

    one.ask(create("request-a", log="0\n"))
    one.group(commit("0", texts("0")), commit("y", texts("y"), branch="side"), commit("x", texts("x")))
    (refused,) = one.group(merge("request-b"))

    assert isinstance(refused, MergeConflictError)
    told = refused.details["conflicts"]
    assert (len(told), refused.details["conflict_count"]) == (100, 120)
    assert [len(conflict.get("hunks", ())) for conflict in (told[0], told[-1])] == [20, 0]
    assert len(json.dumps(told)) < 66 * KIB
    assert len(encode_lines(one.warm().ledger)) < 70 * KIB


def test_what_is_only_asked_or_refused_leaves_no_file_in_the_warm_repository(one: Writer) -> None:
    part(one, theirs="Y\n1\n2\n")
    repo = one.warm()
    repo.save()
    before = files_of(repo.path)

    one.ask(operations.build(PreviewMergeRequest, **HEAD, request_id="request-p", source="side"))
    repo.save()
    assert files_of(repo.path) == before
    assert ask(one, merge("request-b", favor="union")).kind == "merge"
    assert {path.name for path in files_of(repo.path)} == {path.name for path in before}


def files_of(folder: Path) -> list[Path]:
    """Return what is there, but for the links by which libgit2 has packs open, which end with the repository."""
    return sorted(path for path in folder.rglob("*") if OPENED_PREFIX not in str(path.relative_to(folder)))


def test_stock_git_restores_a_merge_and_a_squash_whose_branch_is_gone(
    store: LocalStore, tmp_path: Path
) -> None:
    with writer(store, tmp_path / "cache") as one:
        part(one)
        one.ask(commit("more", {"c": "c"}, branch="more"))
        one.ask(merge("request-b"))
        made = ask(one, merge("request-c", "more", squash=True))
    (folder,) = [path.parent for path in (tmp_path).rglob("journal")]
    repo = restore(folder, tmp_path / "restored.git")

    assert git(repo, "rev-parse", "main").decode().strip() == made.sha
    assert git(repo, "show", "main:log") == b"X\n1\nY\n"
    git(repo, "fsck", "--strict", "--no-dangling")


def test_a_merge_of_a_memory_that_was_deleted_since_is_told_alike(one: Writer) -> None:
    part(one)
    made = ask(one, merge("request-b"))
    one.ask(delete())
    again = ask(one, merge("request-b"))

    assert (again.sha, again.kind) == (made.sha, made.kind)


def test_what_would_make_a_folder_too_large_is_told_as_a_commits_is(
    one: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.ask(create("request-a", log="0\n"))
    one.ask(commit("theirs", {"notes/a": "a", "notes/b": "b"}, branch="side"))
    ours = one.ask(commit("ours", {"notes/c": "c", "notes/d": "d"}))
    monkeypatch.setattr(edits, "_TREE_BYTES_MAX", 100)  # four such files take 112

    with pytest.raises(
        TooLargeError, match="'notes/' would be a folder of more files than can be read again"
    ):
        one.ask(merge("request-b"))

    assert one.ask(files()).commit_sha == ours.sha


@pytest.mark.parametrize("how", ["rebase", "merge"])
def test_a_commit_onto_a_later_head_is_made_once_over_a_worker_that_died(
    store: LocalStore, tmp_path: Path, how: str
) -> None:
    hooked = HookedStore(store)
    with writer(hooked, tmp_path / "a") as a:
        seen = a.ask(create("request-a", log="0\n")).sha
        a.ask(commit("others", {"b": "b"}))
        mine = commit("mine", {"log": "1\n"}, request_id="request-b", expected_head=seen, on_conflict=how)
        hooked.after_put = die
        with pytest.raises(ZeroDivisionError):
            a.ask(mine)

    with writer(store, tmp_path / "b") as b:
        first, again = b.group(mine, mine)

        assert first == again
        assert first.rebased_from == seen
        assert b.messages() == ["Initial commit", "others", "mine"]
        assert b.texts() == {"log": "1\n", "b": "b"}


def test_what_a_commit_and_others_wrote_into_a_file_is_together_no_larger_than_one_may_be(
    store: LocalStore, tmp_path: Path
) -> None:
    with writer(store, tmp_path / "cache", limits=Limits(file_bytes_max=9)) as one:
        seen = one.ask(create("request-a", log="0\n1\n2\n")).sha
        head = one.ask(commit("others", {"log": "X..\n1\n2\n"})).sha
        mine = {"expected_head": seen, "on_conflict": "merge"}

        with pytest.raises(TooLargeError, match="'log' would be 10 bytes long, over file_bytes_max"):
            one.ask(commit("mine", {"log": "0\n1\nY..\n"}, **mine))
        made = one.ask(commit("mine", {"log": "0\n1\nY.\n"}, **mine))

        assert made.parent_sha == head
        assert one.texts() == {"log": "X..\n1\nY.\n"}


def test_commits_of_one_group_from_one_head_are_rebased_each_onto_the_one_before(one: Writer) -> None:
    seen = one.ask(create("request-a", log="0\n")).sha
    made = one.group(
        *(
            commit(f"file-{number}", expected_head=seen, on_conflict="rebase", request_id=f"request-{number}")
            for number in range(5)
        )
    )

    assert [one_made.rebased_from for one_made in made] == [None, *[seen] * 4]
    assert len(one.texts()) == 6


def letters(seed: int, lines: int) -> str:
    """Lines of one letter, of which none is alike at the beginning and the end where the seed is another."""
    middle = Random(seed).choices("ab", k=lines - 2)
    return "".join(f"{letter}\n" for letter in (str(seed), *middle, str(seed)))


@pytest.mark.parametrize(("more", "hunks"), [(0, True), (1, False)], ids=["at the bound", "over it"])
def test_of_a_conflict_of_very_many_lines_no_hunks_are_looked_for(
    one: Writer, monkeypatch: pytest.MonkeyPatch, more: int, hunks: bool
) -> None:
    compared = list[int]()

    def counting(base: bytes, ours: bytes, theirs: bytes) -> list[Hunk]:
        compared.append(sum(data.count(b"\n") for data in (base, base, ours, theirs)))
        return [Hunk(Lines(1, 1), Lines(1, 1), Lines(1, 1))]

    monkeypatch.setattr(merging, "conflicting_hunks", counting)
    lines = MergeBounds.hunks_lines_max // 4
    one.ask(create("request-a", log=letters(1, lines + more)))
    one.ask(commit("theirs", {"log": letters(2, lines)}, branch="side"))
    one.ask(commit("ours", {"log": letters(3, lines)}))

    asked = operations.build(PreviewMergeRequest, **HEAD, request_id="request-p", source="side")
    preview: Any = one.ask(asked)
    with pytest.raises(MergeConflictError) as refused:
        ask(one, merge("request-b"))

    [previewed], [told] = preview.conflicts, refused.value.details["conflicts"]
    assert (previewed.kind, bool(previewed.hunks)) == ("content", hunks)
    assert (told["kind"], "hunks" in told) == ("content", hunks)
    assert compared == [4 * lines] * 2 * hunks


def test_what_merge_bases_are_merged_from_counts_with_the_merge_itself(
    one: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a criss-cross merge there are several bases, and each is merged as its sides are."""
    monkeypatch.setattr(MergeBounds, "bytes_max", 32)
    monkeypatch.setattr(MergeBudget, "__init__", lambda self: setattr(self, "bytes_left", 32))
    middle = "".join(f"{number}\n" for number in range(10))
    one.ask(create("request-a", log=f"a\n{middle}b\n"))
    one.ask(commit("theirs", {"log": f"a\n{middle}{'Y' * 12}\n"}, branch="side"))
    ours = one.ask(commit("ours", {"log": f"{'X' * 12}\n{middle}b\n"}))
    ask(one, merge("request-b"))
    ask(one, merge("request-c", source=ours.sha, target="side", fast_forward="never"))
    one.ask(commit("ours too", {"log": f"{'X' * 12}\n{middle}{'Y' * 12}\nours\n"}))
    one.ask(commit("theirs too", {"log": f"theirs\n{'X' * 12}\n{middle}{'Y' * 12}\n"}, branch="side"))

    with pytest.raises(TooLargeError) as refused:
        ask(one, merge("request-d"))

    assert refused.value.details["bound"] == "merged_bytes_max"
