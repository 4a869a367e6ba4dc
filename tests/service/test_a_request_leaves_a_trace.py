"""What became of a request: from the ledger as it was at that place of the group, else from history."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from memrepo.errors import RepoNotFoundError, RequestExpiredError
from memrepo.limits import Limits
from memrepo_worker.migration.transfer import Transfer
from memrepo_worker.store.backends.local import LocalStore
from tests.support.jobs import present
from tests.support.stock_git import empty_repository, git, stock_git
from tests.support.writers import AGENT, NOW_S, Writer, commit, create, delete, find, writer

LATER_S = NOW_S + 49 * 3600.0
"""When the ledger forgets what was enqueued at ``NOW_S``, once a request of that time is in the journal."""


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def one(store: LocalStore, tmp_path: Path) -> Iterator[Writer]:
    with writer(store, tmp_path / "one") as one:
        yield one


@pytest.fixture
def later(store: LocalStore, tmp_path: Path) -> Iterator[Writer]:
    """A writer two days later, whose cache is empty."""
    with writer(store, tmp_path / "later", now_s=LATER_S) as later:
        yield later


def pass_two_days(store: LocalStore, tmp_path: Path) -> None:
    """Have somebody commit two days later, so that those who open the journal after that forget the first day."""
    with writer(store, tmp_path / "two-days", now_s=LATER_S) as somebody, suppress(RepoNotFoundError):
        somebody.ask(commit("two days later", enqueued_at=LATER_S))


def entries(store: LocalStore) -> int:
    return len(list(store.list("acme/agent-1/repo.git/journal/")))


def test_a_request_earlier_in_the_group_is_found_and_a_later_one_is_not(one: Writer) -> None:
    early, late = commit("early"), commit("late")

    _, before, made, at_once, none, _ = one.group(
        create(), find(early.request_id), early, find(early.request_id), find(late.request_id), late
    )

    assert before is None
    assert (at_once.verdict, at_once.sha, at_once.commit.message) == ("committed", made.sha, "early")
    assert none is None


def test_a_request_that_failed_earlier_in_the_group_is_found_with_its_error(one: Writer) -> None:
    bad = commit("bad", expected_head="a" * 40)

    _, refusal, outcome = one.group(create(), bad, find(bad.request_id))

    assert outcome.verdict == "failed"
    assert type(outcome.error) is type(refusal)
    assert outcome.error.details == refusal.details


def test_a_commit_of_a_group_that_ends_in_a_delete_is_found_before_and_after_it(one: Writer) -> None:
    one.ask(create())
    doomed = commit("doomed")

    made, before, _ = one.group(doomed, find(doomed.request_id), delete())
    after = present(one.ask(find(doomed.request_id)))

    assert (before.sha, before.commit.message) == (made.sha, "doomed")
    assert (after.verdict, after.sha, after.commit) == ("committed", made.sha, None)


def test_a_refusal_before_the_create_of_its_group_is_found_once_it_is_in_the_entry(one: Writer) -> None:
    refused = commit("too early")

    error, unsettled, _, settled = one.group(
        refused, find(refused.request_id), create(), find(refused.request_id)
    )

    assert isinstance(error, RepoNotFoundError)
    assert unsettled is None, "nothing had begun the journal yet"
    assert isinstance(settled.error, RepoNotFoundError)
    assert isinstance(present(one.ask(find(refused.request_id))).error, RepoNotFoundError)


def test_asking_writes_nothing(one: Writer, store: LocalStore) -> None:
    assert one.ask(find("request-none")) is None
    assert entries(store) == 0
    one.ask(create())

    one.group(find("request-none"), find("request-none"))

    assert entries(store) == 1


def test_a_commit_that_the_ledger_has_forgotten_is_found_in_history(
    one: Writer, later: Writer, store: LocalStore, tmp_path: Path
) -> None:
    one.ask(create())
    old, idle = commit("old"), commit("idle", {})
    made = one.ask(old)
    one.ask(idle)
    one.ask(commit("newer"))
    pass_two_days(store, tmp_path)

    outcome = present(later.ask(find(old.request_id)))

    assert later.ask(find(idle.request_id)) is None, "the ledger has forgotten"
    assert (outcome.verdict, outcome.sha, outcome.request_id) == ("committed", made.sha, old.request_id)
    described = present(outcome.commit)
    assert (described.message, described.files_changed) == ("old", ["old"])


def test_a_commit_on_any_branch_is_found_in_history(
    one: Writer, later: Writer, store: LocalStore, tmp_path: Path
) -> None:
    one.ask(create())
    aside = commit("aside", branch="side")
    made = one.ask(aside)
    pass_two_days(store, tmp_path)

    assert present(later.ask(find(aside.request_id))).sha == made.sha


def test_nothing_of_a_deleted_repository_is_found_in_history(
    one: Writer, later: Writer, store: LocalStore, tmp_path: Path
) -> None:
    one.ask(create())
    old = commit("old")
    one.ask(old)
    one.ask(delete())
    pass_two_days(store, tmp_path)
    assert later.ask(find(old.request_id)) is None

    one.ask(create(new="life"))
    later.new_lease()
    assert later.ask(find(old.request_id)) is None


def test_a_commit_is_found_although_its_request_came_again_too_late(
    one: Writer, later: Writer, store: LocalStore, tmp_path: Path
) -> None:
    """That one was refused says nothing of the attempt before it, which was applied."""
    one.ask(create())
    old, never = commit("old"), commit("never")
    made = one.ask(old)
    pass_two_days(store, tmp_path)
    for request in (old, never):
        with pytest.raises(RequestExpiredError):
            later.ask(request)

    assert present(later.ask(find(old.request_id))).sha == made.sha
    assert isinstance(present(later.ask(find(never.request_id))).error, RequestExpiredError)


def test_a_commit_behind_a_tag_alone_is_found_in_an_imported_history(
    store: LocalStore, one: Writer, tmp_path: Path
) -> None:
    repo = empty_repository(tmp_path / "tagged.git")
    tree = git(repo, "mktree").decode().strip()
    trailers = "Request-Id: imported-id-{}\nAuthor-Type: agent\n"
    shas = []
    for number in range(3):
        text = "\n".join(
            [
                f"tree {tree}",
                f"author A <a@example.org> {number + 1} +0000",
                f"committer memrepo <memrepo@localhost> {number + 1} +0000",
                "",
                f"commit {number}",
                "",
                trailers.format(number),
            ]
        )
        made = git(repo, "hash-object", "-t", "commit", "-w", "--stdin", stdin=text.encode())
        shas.append(made.decode().strip())
    git(repo, "update-ref", "refs/heads/main", shas[0])
    git(repo, "update-ref", "refs/tags/light", shas[1])
    tag = f"object {shas[2]}\ntype commit\ntag heavy\ntagger A <a@example.org> 9 +0000\n\nheavy\n"
    heavy = git(repo, "hash-object", "-t", "tag", "-w", "--stdin", stdin=tag.encode()).decode().strip()
    git(repo, "update-ref", "refs/tags/heavy", heavy)
    git(repo, "bundle", "create", "--quiet", str(tmp_path / "tagged.bundle"), "--all")
    with ThreadPoolExecutor(4) as executor:
        transfer = Transfer(store, stock_git(), executor, lambda: NOW_S, Limits())
        transfer.import_(AGENT, tmp_path / "tagged.bundle", trust_claims=True)

    found = [present(one.ask(find(f"imported-id-{number}"))) for number in range(3)]

    assert [(outcome.verdict, outcome.sha) for outcome in found] == [("committed", sha) for sha in shas]


def without_hits(writer: Writer) -> dict[str, int]:
    """Return what was counted, but not how often the repository was at hand."""
    return {
        name: count for name, count in writer.counters.snapshot().items() if name != "cache.found_in_memory"
    }


def test_a_warm_repository_answers_without_asking_the_store(one: Writer) -> None:
    one.ask(create())
    old = commit("old")
    one.ask(old)
    before = without_hits(one)

    one.ask(find(old.request_id))
    one.ask(find("request-none"))

    assert without_hits(one) == before
