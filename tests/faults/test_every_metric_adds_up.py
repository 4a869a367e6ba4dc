"""Every documented metric, read while requests end in every way: it says what callers, bucket and broker say, too.

Each has a check of its own, so that none is there that nobody has compared with anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version

import pytest

from tests.support.documents import ROOT
from tests.support.measured_run import CONCURRENCY, SHARDS, MeasuredRun, grown, measured_run
from tests.support.scrape import Scrape

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MeasuredRun]:
    with measured_run(tmp_path_factory.mktemp("measured")) as done:
        yield done


def check_histogram(page: Scrape, name: str, count: float, **labels: str) -> float:
    """See that a histogram has counted so many, each bucket all of those before it; return its sum."""
    buckets = page.values(f"{name}_bucket", **labels)
    per_worker = len(buckets) // len(page.values(f"{name}_count", **labels))
    for start in range(0, len(buckets), per_worker):
        of_one = buckets[start : start + per_worker]
        assert of_one == sorted(of_one), "a bucket holds what the smaller ones do"
    assert page.total(f"{name}_count", **labels) == count
    assert page.total(f"{name}_bucket", le="+Inf", **labels) == count
    return page.total(f"{name}_sum", **labels)


def worker_info(run: MeasuredRun) -> None:
    labels = (("version", version("memrepo")),)
    assert run.pages["end"].each("memrepo_worker_info") == {labels: 1}


def requests_each_once_as_its_caller_was_told(run: MeasuredRun) -> None:
    page = run.pages["end"]
    counted = {
        ended: page.total("memrepo_requests_total", operation=ended[0], outcome=ended[1], error=ended[2])
        for ended in run.told
    }
    assert counted == dict(run.told)
    assert page.total("memrepo_requests_total") == run.told.total()


def seconds_of_each_request(run: MeasuredRun) -> None:
    page = run.pages["end"]
    for operation in {operation for operation, _, _ in run.told}:
        count = sum(amount for (name, _, _), amount in run.told.items() if name == operation)
        spent_s = check_histogram(page, "memrepo_request_seconds", count, operation=operation)
        assert 0 < spent_s < count * run.took_s


def phases_that_add_up_to_the_whole(run: MeasuredRun) -> None:
    page, count = run.pages["end"], run.told.total()
    parts_s = [
        check_histogram(page, "memrepo_request_phase_seconds", count, phase=phase)
        for phase in ("queue", "mailbox", "work", "store", "answer")
    ]
    assert min(parts_s) >= 0
    assert sum(parts_s) == pytest.approx(page.total("memrepo_request_seconds_sum"))


def groups_of_requests(run: MeasuredRun) -> None:
    page, count = run.pages["end"], run.told.total()
    assert check_histogram(page, "memrepo_group_requests", count) >= count
    began = page.total("memrepo_events_total", event="mailbox.requests")
    assert 0 < page.total("memrepo_groups_total") < began, "some were together"


def other_events(run: MeasuredRun) -> None:
    """What began is what ended, but for what was no request: also what turned out to be cancelled."""
    began = run.pages["end"].total("memrepo_events_total", event="mailbox.requests")
    assert began == run.told.total() - run.forged


def entries_as_the_bucket_has_them(run: MeasuredRun) -> None:
    raced, end = (
        run.pages[name].total("memrepo_entries_total", outcome="appended") for name in ("raced", "end")
    )
    in_bucket = {name: sum("/journal/" in key for key in run.objects[name]) for name in ("raced", "end")}
    assert raced + run.appended_by_others == in_bucket["raced"]
    unanswered = in_bucket["end"] - end - run.appended_by_others
    assert 0 <= unanswered <= run.pages["end"].total("memrepo_retries_total"), "those whose answer was lost"
    assert run.pages["end"].total("memrepo_entries_total", outcome="lost_to_another") == 1


def requests_to_the_store(run: MeasuredRun) -> None:
    committed = {
        operation: between(run, "begun", "committed", "memrepo_store_requests_total", operation=operation)
        for operation in ("get", "put", "list", "delete")
    }
    assert committed == {"get": 0, "put": 10, "list": 0, "delete": 0}
    read = between(run, "committed", "read", "memrepo_store_requests_total")
    assert read == 0, "what is warm is read from the disk"


def bytes_as_the_bucket_has_them(run: MeasuredRun) -> None:
    made = run.objects["committed"].keys() - run.objects["begun"].keys()
    written = between(run, "begun", "committed", "memrepo_store_bytes_total", direction="written")
    assert written == sum(run.objects["committed"][key] for key in made)
    read = between(run, "folded", "healed", "memrepo_store_bytes_total", direction="read")
    sizes = run.objects["healed"]
    (entry,) = [size for key, size in sizes.items() if "/damaged/" in key]
    (identity,) = [size for key, size in sizes.items() if key.endswith("identity.json")]
    assert read == 2 * identity + 2 * entry, "two that are new; one that is compared, and then opened anew"


def memories_opened_cold(run: MeasuredRun) -> None:
    assert between(run, "begun", "read", "memrepo_cold_opens_total") == 0
    assert between(run, "folded", "healed", "memrepo_cold_opens_total") == 3, "two new ones, one healed"


def repositories_that_were_healed(run: MeasuredRun) -> None:
    assert between(run, "folded", "healed", "memrepo_healed_repositories_total") == 1
    assert run.pages["end"].total("memrepo_healed_repositories_total") == 1


def what_became_of_warm_repositories(run: MeasuredRun) -> None:
    assert between(run, "begun", "read", "memrepo_cache_total", event="found_in_memory") == 15
    assert between(run, "folded", "healed", "memrepo_cache_total", event="unloaded") >= 2
    page = run.pages["end"]
    found = sum(
        page.total("memrepo_cache_total", event=f"found_{where}") for where in ("in_memory", "on_disk")
    )
    assert found + page.total("memrepo_cold_opens_total") >= page.total("memrepo_groups_total")
    assert page.total("memrepo_cache_total", event="failed") <= 1
    assert page.total("memrepo_cache_total", event="passed_by") == 0


def warm_repositories(run: MeasuredRun) -> None:
    kept = run.pages["end"].values("memrepo_cache_repositories")
    on_disk = [len([*worker.cache.rglob("*.git")]) for worker in run.workers]
    assert kept == on_disk
    assert run.pages["end"].total("memrepo_cache_total", event="dropped") > 0, (
        "there were more agents than room"
    )


def disk_that_they_take(run: MeasuredRun) -> None:
    for told, worker in zip(run.pages["end"].values("memrepo_cache_disk_bytes"), run.workers, strict=True):
        files = [path for path in worker.cache.rglob("*.git/**/*") if path.is_file()]
        assert told == pytest.approx(sum(path.stat().st_blocks * 512 for path in files), rel=0.5)


def memory_that_they_take(run: MeasuredRun) -> None:
    told, rss = (
        run.pages["end"].values(name)
        for name in ("memrepo_cache_memory_bytes", "process_resident_memory_bytes")
    )
    assert all(0 < ours < all_of_it for ours, all_of_it in zip(told, rss, strict=True))


def git_processes(run: MeasuredRun) -> None:
    assert between(run, "begun", "committed", "memrepo_git_processes_total") == 0
    assert between(run, "read", "looked back", "memrepo_git_processes_total") >= 1


def shards_that_moved(run: MeasuredRun) -> None:
    moves = {
        kind: run.pages["end"].values("memrepo_shard_moves_total", kind=kind)
        for kind in ("taken", "released", "lost")
    }
    for taken, released, lost in zip(*moves.values(), strict=True):
        assert taken - released - lost == SHARDS / 2
    assert moves["released"] == [SHARDS / 2, 0]


def shards_there_are(run: MeasuredRun) -> None:
    assert set(run.pages["end"].values("memrepo_shards")) == {SHARDS}


def shards_without_owner(run: MeasuredRun) -> None:
    assert set(run.pages["end"].values("memrepo_shards_without_owner")) == {0}


def heartbeats_that_failed(run: MeasuredRun) -> None:
    assert run.pages["healed"].total("memrepo_heartbeats_failed_total") == 0
    assert run.pages["without broker"].total("memrepo_heartbeats_failed_total") > 0


def connections_that_were_given_up(run: MeasuredRun) -> None:
    """None while the broker answered; one that is frozen may stop within an answer."""
    name = "memrepo_redis_connections_given_up_total"
    assert run.pages["store is back"].values(name) == [0]
    assert len(run.pages["end"].values(name)) == len(run.workers)


def whether_the_broker_is_up(run: MeasuredRun) -> None:
    assert run.pages["without broker"].values("memrepo_broker_up") == [0]
    assert run.pages["end"].values("memrepo_broker_up") == [1, 1]
    assert "memrepo_requests_unsettled" not in run.pages["without broker"].names


def messages_that_were_no_request(run: MeasuredRun) -> None:
    assert run.pages["end"].total("memrepo_messages_refused_total") == run.forged


def jobs_that_keep_memories_quick(run: MeasuredRun) -> None:
    ended = {
        outcome: run.pages["end"].total("memrepo_upkeep_jobs_total", kind="fold", outcome=outcome)
        for outcome in ("done", "failed", "stopped", "refused")
    }
    assert ended == {"done": 1, "failed": 0, "stopped": 0, "refused": 0}


def jobs_that_are_pending(run: MeasuredRun) -> None:
    assert set(run.pages["end"].values("memrepo_upkeep_jobs_pending")) == {0}


def bounds_that_were_met(run: MeasuredRun) -> None:
    assert between(run, "looked back", "mixed", "memrepo_bounds_hit_total", bound="edited_bytes") == 1
    assert run.pages["end"].total("memrepo_bounds_hit_total") == 1


def groups_that_wait_for_another_try(run: MeasuredRun) -> None:
    assert run.pages["healed"].total("memrepo_retries_total", reason="store") == 0
    assert run.pages["end"].total("memrepo_retries_total", reason="store") > 0
    assert run.pages["end"].total("memrepo_retries_total", reason="fault") == 0


def turns_at_the_same_time(run: MeasuredRun) -> None:
    assert all(1 <= turns <= CONCURRENCY for turns in run.pages["end"].values("memrepo_turns_at_once"))


def requests_that_producers_refused(run: MeasuredRun) -> None:
    assert run.refused == 3
    by_bound = {
        bound: set(run.pages["end"].values("memrepo_requests_refused_total", bound=bound))
        for bound in ("agent_depth_max", "shard_depth_max")
    }
    assert by_bound == {"agent_depth_max": {3}, "shard_depth_max": {0}}


def unsettled(run: MeasuredRun) -> None:
    away = run.pages["away"]
    both = away.total("memrepo_requests_waiting") + away.total("memrepo_requests_in_flight")
    assert away.total("memrepo_requests_unsettled") == both == run.sent_without_store
    returns_to_0(run, "memrepo_requests_unsettled")


def waiting(run: MeasuredRun) -> None:
    assert run.pages["away"].total("memrepo_requests_waiting") > 0
    returns_to_0(run, "memrepo_requests_waiting")


def in_flight(run: MeasuredRun) -> None:
    assert run.pages["away"].total("memrepo_requests_in_flight") > 0
    returns_to_0(run, "memrepo_requests_in_flight")


def oldest_waiting(run: MeasuredRun) -> None:
    assert 0 < run.pages["away"].total("memrepo_oldest_waiting_seconds") < run.took_s
    returns_to_0(run, "memrepo_oldest_waiting_seconds")


def oldest_in_flight(run: MeasuredRun) -> None:
    away, later = (
        run.pages[name].total("memrepo_oldest_in_flight_seconds") for name in ("away", "still away")
    )
    assert 0 < away < away + 1 < later < run.took_s
    returns_to_0(run, "memrepo_oldest_in_flight_seconds")


def returns_to_0(run: MeasuredRun, name: str) -> None:
    assert run.pages["end"].values(name) == [0, 0]


def between(run: MeasuredRun, before: str, after: str, name: str, **labels: str) -> float:
    return grown(run.pages[before], run.pages[after], name, **labels)


CHECKS: Mapping[str, Callable[[MeasuredRun], None]] = {
    "memrepo_worker_info": worker_info,
    "memrepo_requests_total": requests_each_once_as_its_caller_was_told,
    "memrepo_request_seconds": seconds_of_each_request,
    "memrepo_request_phase_seconds": phases_that_add_up_to_the_whole,
    "memrepo_group_requests": groups_of_requests,
    "memrepo_requests_unsettled": unsettled,
    "memrepo_requests_waiting": waiting,
    "memrepo_requests_in_flight": in_flight,
    "memrepo_requests_refused_total": requests_that_producers_refused,
    "memrepo_oldest_waiting_seconds": oldest_waiting,
    "memrepo_oldest_in_flight_seconds": oldest_in_flight,
    "memrepo_shards": shards_there_are,
    "memrepo_shards_without_owner": shards_without_owner,
    "memrepo_broker_up": whether_the_broker_is_up,
    "memrepo_groups_total": groups_of_requests,
    "memrepo_turns_at_once": turns_at_the_same_time,
    "memrepo_entries_total": entries_as_the_bucket_has_them,
    "memrepo_retries_total": groups_that_wait_for_another_try,
    "memrepo_store_requests_total": requests_to_the_store,
    "memrepo_store_bytes_total": bytes_as_the_bucket_has_them,
    "memrepo_cold_opens_total": memories_opened_cold,
    "memrepo_healed_repositories_total": repositories_that_were_healed,
    "memrepo_cache_total": what_became_of_warm_repositories,
    "memrepo_cache_repositories": warm_repositories,
    "memrepo_cache_disk_bytes": disk_that_they_take,
    "memrepo_cache_memory_bytes": memory_that_they_take,
    "memrepo_git_processes_total": git_processes,
    "memrepo_shard_moves_total": shards_that_moved,
    "memrepo_heartbeats_failed_total": heartbeats_that_failed,
    "memrepo_redis_connections_given_up_total": connections_that_were_given_up,
    "memrepo_messages_refused_total": messages_that_were_no_request,
    "memrepo_upkeep_jobs_total": jobs_that_keep_memories_quick,
    "memrepo_upkeep_jobs_pending": jobs_that_are_pending,
    "memrepo_bounds_hit_total": bounds_that_were_met,
    "memrepo_events_total": other_events,
}


@pytest.mark.parametrize("metric", CHECKS)
def test_it_says_what_happened(run: MeasuredRun, metric: str) -> None:
    assert metric in run.pages["end"].names or f"{metric}_count" in run.pages["end"].names
    CHECKS[metric](run)


def test_every_documented_metric_is_checked() -> None:
    documented = re.findall(r"^\| `(memrepo_\w+)", (ROOT / "docs/monitoring.md").read_text(), re.MULTILINE)

    assert sorted(documented) == sorted(CHECKS)
