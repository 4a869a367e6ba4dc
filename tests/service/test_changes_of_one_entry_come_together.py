"""Requests that waited together share an entry of the journal, and so their changes a number."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from memrepo import InvalidRequestError, MergeResult
from memrepo.wire.operations import build
from memrepo.wire.requests.feed import GetChangesRequest
from memrepo.wire.requests.merges import MergeRequest
from memrepo_worker.journal.layout import Layout
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.interface import ABSENT
from tests.support.writers import AGENT, NOW_S, Writer, commit, create, delete, writer

MAIN, DRAFT = "refs/heads/main", "refs/heads/draft"
HEAD = {"org_id": AGENT.org_id, "agent_id": AGENT.agent_id, "enqueued_at": NOW_S}


def changes(after: int = 0, limit: int = 100) -> GetChangesRequest:
    return build(GetChangesRequest, **HEAD, request_id="changes-1", after=after, limit=limit)


def test_who_has_dealt_with_a_part_of_an_entry_is_told_all_of_it_again(one: Writer) -> None:
    first = one.ask(create(a="1"))
    second, third, beside = one.group(
        commit("second", {"a": "2"}),
        commit("third", {"a": "3"}),
        commit("beside", {"a": "4"}, branch="draft"),
    )

    feed = one.ask(changes())

    begun, draft, main = feed
    assert (begun.seq, draft.seq, main.seq) == (1, 2, 2)
    assert (draft.ref, draft.commits) == (DRAFT, [second.sha, third.sha, beside.sha])
    assert (main.ref, main.old, main.commits) == (MAIN, first.sha, [second.sha, third.sha])
    assert main.request_ids == [second.request_id, third.request_id]
    assert list(one.ask(changes(draft.resume_after))) == [draft, main]
    assert list(one.ask(changes(main.resume_after))) == []
    assert len(one.ask(changes(limit=1))) == 1


@pytest.mark.parametrize("before", [0, 3], ids=["from the first commit", "from a later one"])
def test_of_commits_of_one_second_those_that_a_merge_brought_are_told_and_no_others(
    one: Writer, before: int
) -> None:
    one.ask(create(a="0"))
    for number in range(before):
        one.ask(commit("before", {"a": f"before {number}"}))
    side = one.ask(commit("beside", {"b": "b"}, branch="draft"))
    for number in range(1, 5):
        one.ask(commit("meanwhile", {"a": str(number)}))
    made = one.ask(build(MergeRequest, **HEAD, request_id="request-m", source="draft"))

    *_, last = one.ask(changes())

    assert isinstance(made, MergeResult)
    assert (last.ref, last.new) == (MAIN, made.sha)
    assert last.commits == [side.sha, made.sha]


def test_a_worker_that_has_none_of_it_tells_the_same(store: LocalStore, one: Writer, tmp_path: Path) -> None:
    large = "".join(f"{Random(1).random()}\n" for _ in range(20_000))
    one.ask(create(a="1"))
    one.ask(delete())
    one.ask(create(a="again", large=large))
    one.ask(commit("more", {"large": f"{large}x"}))
    one.ask(commit("more", {"large": f"{large}xy"}))

    with writer(store, tmp_path / "two") as two:
        assert list(two.ask(changes())) == list(one.ask(changes()))
        assert [change.ref for change in two.ask(changes())] == ["HEAD", MAIN, MAIN, MAIN]


def test_a_page_of_changes_goes_on_behind_what_others_put_among_the_entries(
    store: LocalStore, one: Writer
) -> None:
    first = one.ask(create(a="1"))
    second = one.ask(commit("second", {"a": "2"}))
    journal = Layout.of(AGENT.org_id, AGENT.agent_id).journal
    for number in range(3):
        store.put(f"{journal}{1:020d}.bundle.{number}", b"a copy", ABSENT)

    assert [change.commits for change in one.ask(changes(0, limit=2))] == [[first.sha], [second.sha]]
    (change,) = one.ask(changes(1, limit=1))
    assert (change.old, change.new) == (first.sha, second.sha)


def test_what_a_page_of_changes_costs_does_not_grow_with_the_journal(one: Writer) -> None:
    one.ask(create(a="1"))
    for number in range(30):
        one.ask(commit(f"{number}", {"a": str(number)}))
    before = one.counters.snapshot()

    assert len(one.ask(changes(after=28))) == 3

    after = one.counters.snapshot()
    spent = {name: after[name] - before.get(name, 0) for name in after if name.endswith(".requests")}
    spent = {name: count for name, count in spent.items() if count}
    assert spent == {"store.get.requests": 4, "store.list.requests": 1}, (
        "what is told of, and the entry before"
    )


def test_a_number_that_another_worker_has_written_meanwhile_is_waited_at(
    store: LocalStore, one: Writer, tmp_path: Path
) -> None:
    one.ask(create(a="1"))
    one.ask(changes())
    with writer(store, tmp_path / "two") as two:
        two.ask(commit("elsewhere"))
        newest = two.ask(changes()).newest
    assert one.warm().state.seq < newest, "it knows nothing of that, and believes what it knows"

    feed = one.ask(changes(after=newest))
    assert (list(feed), feed.seq, feed.newest) == ([], newest, newest)
    assert [*one.group(commit("its own"), changes(after=newest + 1))[1]] == []
    with pytest.raises(InvalidRequestError, match=f"the newest entry is {newest + 1}"):
        one.ask(changes(after=newest + 2))


def test_what_another_worker_has_written_is_told_with_all_its_commits_once_it_is_known(
    store: LocalStore, one: Writer, tmp_path: Path
) -> None:
    one.ask(create(a="1"))
    one.ask(commit("second", {"a": "2"}))
    with writer(store, tmp_path / "two") as two:
        made = two.group(commit("third", {"a": "3"}), commit("fourth", {"a": "4"}))
    assert one.warm().state.seq == 2, "it knows nothing of that, and believes what it knows"

    feed = one.ask(changes(after=1))
    one.new_lease()
    later = one.ask(changes(after=feed.seq))

    assert ([change.seq for change in feed], feed.seq, feed.newest) == ([2], 2, 2)
    assert [change.commits for change in later] == [[commit.sha for commit in made]]
    assert later[0].request_ids == [commit.request_id for commit in made]


def test_a_follower_of_a_store_that_was_set_back_is_told(
    store: LocalStore, one: Writer, tmp_path: Path
) -> None:
    one.ask(create(a="1"))
    one.ask(commit("second"))
    one.ask(commit("third"))
    cursor = one.ask(changes()).seq
    store.delete([Layout.of(AGENT.org_id, AGENT.agent_id).entry(cursor)])

    with writer(store, tmp_path / "after the restore") as later:
        with pytest.raises(InvalidRequestError) as told:
            later.ask(changes(after=cursor))
        assert told.value.details == {"field": "after", "newest": cursor - 1}
        later.ask(commit("fourth"))
        assert later.ask(changes(after=cursor - 1))[0].seq == cursor
