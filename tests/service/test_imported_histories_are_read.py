"""Histories that others made, with merges and dates that no call of ours makes, are read like any other."""

from __future__ import annotations

from pathlib import Path

from memrepo.wire.requests.reads import GetHistoryRequest
from memrepo_worker.migration.transfer import Transfer
from tests.support.merged_history import bundle_with_a_merge
from tests.support.writers import AGENT, NOW_S, Writer


def page(limit: int, after: str | None = None) -> GetHistoryRequest:
    return GetHistoryRequest(
        org_id="acme", agent_id="agent-1", request_id="reading-1", enqueued_at=NOW_S, limit=limit, after=after
    )


def test_paging_through_a_merge_gives_every_commit_once(
    one: Writer, transfer: Transfer, tmp_path: Path
) -> None:
    transfer.import_(AGENT, bundle_with_a_merge(tmp_path))
    whole = [item.message for item in one.ask(page(10))]

    paged, after = [], None
    while found := one.ask(page(1, after)):
        paged.append(found[0].message)
        after = found[0].sha

    assert paged == whole
    assert sorted(whole) == ["base", "left", "merge", "right"]


def test_a_commit_dated_after_the_year_9999_is_shown_at_its_end(
    one: Writer, transfer: Transfer, tmp_path: Path
) -> None:
    transfer.import_(AGENT, bundle_with_a_merge(tmp_path, dates=(100, 200, 300, 300_000_000_000)))

    assert one.ask(page(1))[0].timestamp.year == 9999
