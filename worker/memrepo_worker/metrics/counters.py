"""The worker's counters as metrics: the table of what each is called, and where the rest goes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from memrepo_worker.observe import Counters


@dataclass(frozen=True, slots=True)
class CounterName:
    """What an event is called outside: a metric (without ``_total``) and its labels."""

    metric: str
    labels: Mapping[str, str] = field(default_factory=dict)


_STORE_OPERATIONS = ("get", "put", "list", "delete")

TABLE: Mapping[str, CounterName] = {
    **{
        f"store.{name}.requests": CounterName("memrepo_store_requests", {"operation": name})
        for name in _STORE_OPERATIONS
    },
    "store.get.bytes": CounterName("memrepo_store_bytes", {"direction": "read"}),
    "store.put.bytes": CounterName("memrepo_store_bytes", {"direction": "written"}),
    "journal.appended": CounterName("memrepo_entries", {"outcome": "appended"}),
    "journal.lost": CounterName("memrepo_entries", {"outcome": "lost_to_another"}),
    "mailbox.groups": CounterName("memrepo_groups"),
    "mailbox.store.unavailable": CounterName("memrepo_retries", {"reason": "store"}),
    "mailbox.faults": CounterName("memrepo_retries", {"reason": "fault"}),
    "repo.opened_cold": CounterName("memrepo_cold_opens"),
    "repo.healed": CounterName("memrepo_healed_repositories"),
    "cache.found_in_memory": CounterName("memrepo_cache", {"event": "found_in_memory"}),
    "cache.unloaded": CounterName("memrepo_cache", {"event": "unloaded"}),
    "cache.found": CounterName("memrepo_cache", {"event": "found_on_disk"}),
    "cache.dropped": CounterName("memrepo_cache", {"event": "dropped"}),
    "cache.failed": CounterName("memrepo_cache", {"event": "failed"}),
    "cache.passed_by": CounterName("memrepo_cache", {"event": "passed_by"}),
    "process.started": CounterName("memrepo_git_processes"),
    "shards.taken": CounterName("memrepo_shard_moves", {"kind": "taken"}),
    "shards.released": CounterName("memrepo_shard_moves", {"kind": "released"}),
    "shards.lost": CounterName("memrepo_shard_moves", {"kind": "lost"}),
    "keeper.beats.failed": CounterName("memrepo_heartbeats_failed"),
    "redis.connections.given_up": CounterName("memrepo_redis_connections_given_up"),
    "intake.refused": CounterName("memrepo_messages_refused"),
    **{
        f"upkeep.fold.{outcome}": CounterName("memrepo_upkeep_jobs", {"kind": "fold", "outcome": outcome})
        for outcome in ("done", "failed", "stopped", "refused")
    },
}
"""The events that have a name of their own. Each metric is there from the start, at 0."""

HELP: Mapping[str, str] = {
    "memrepo_store_requests": "Requests to the store, also those that failed.",
    "memrepo_store_bytes": "Bytes read from and written to the store.",
    "memrepo_entries": "Journal entries: appended, or lost to another writer's and drafted anew.",
    "memrepo_groups": "Groups that began; requests of one agent that waited together are one.",
    "memrepo_retries": "Groups that wait for another try: the store did not answer, or a fault of memrepo.",
    "memrepo_cold_opens": "Memories opened from the store alone.",
    "memrepo_healed_repositories": "Damaged warm repositories that were thrown away and opened anew.",
    "memrepo_cache": "What became of warm repositories.",
    "memrepo_git_processes": "Git processes started.",
    "memrepo_shard_moves": "Shards that this worker took, released, or lost.",
    "memrepo_heartbeats_failed": "Heartbeats that the broker did not take.",
    "memrepo_redis_connections_given_up": "Connections to Redis on which an answer began and was not whole in time.",
    "memrepo_messages_refused": "Messages that were no request.",
    "memrepo_upkeep_jobs": "Jobs that keep memories quick, beside the requests, by how they ended.",
    "memrepo_bounds_hit": "Bounds that something met (docs/operations.md lists them).",
    "memrepo_events": "All else that a worker counts, by the name of its counter.",
}


def counter_families(counters: Counters) -> Iterator[CounterMetricFamily]:
    """Yield one family per metric, from all counters at one moment."""
    totals: dict[str, dict[tuple[tuple[str, str], ...], int]] = {}
    for name in TABLE.values():
        totals.setdefault(name.metric, {})[tuple(name.labels.items())] = 0
    for event, amount in counters.snapshot().items():
        name = TABLE.get(event) or _other(event)
        labels = tuple(name.labels.items())
        samples = totals.setdefault(name.metric, {})
        samples[labels] = samples.get(labels, 0) + amount
    for metric, samples in totals.items():
        family = CounterMetricFamily(metric, HELP[metric], labels=[key for key, _ in next(iter(samples))])
        for labels, amount in samples.items():
            family.add_metric([value for _, value in labels], amount)
        yield family


LEVELS: Mapping[str, tuple[str, str]] = {
    "cache.repositories": (
        "memrepo_cache_repositories",
        "Warm repositories that this process keeps on disk.",
    ),
    "cache.disk_bytes": ("memrepo_cache_disk_bytes", "What they take of the disk."),
    "cache.memory_bytes": (
        "memrepo_cache_memory_bytes",
        "What those of them that are in memory take of it, about.",
    ),
    "mailbox.turns.at_once": (
        "memrepo_turns_at_once",
        "How many turns work at the same moment, by what turns took lately; those that wait for long come on top.",
    ),
    "upkeep.pending": (
        "memrepo_upkeep_jobs_pending",
        "Jobs that keep memories quick: those that wait, and the one that runs.",
    ),
}
"""The measured amounts, with their metric and what it says."""


def level_families(counters: Counters) -> Iterator[GaugeMetricFamily]:
    """Yield what there is of each at this moment."""
    levels = counters.levels
    for what, (metric, said) in LEVELS.items():
        yield GaugeMetricFamily(metric, said, value=levels.get(what, 0))


def _other(event: str) -> CounterName:
    kind, _, bound = event.partition(".")
    if kind == "bounds":
        return CounterName("memrepo_bounds_hit", {"bound": bound})
    if kind == "upkeep":
        job, _, outcome = bound.rpartition(".")
        return CounterName("memrepo_upkeep_jobs", {"kind": job, "outcome": outcome})
    return CounterName("memrepo_events", {"event": event})
