"""How requests went, as metrics: how many ended how, and where their time was spent."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

from memrepo_worker.observe import RequestEnded

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_REQUESTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

PHASES = ("queue", "mailbox", "work", "store", "answer")
"""The phases of a request, in their order; ``RequestEnded`` says what each is."""


class RequestMetrics:
    """A listener of ``Counters``: each request that ended is counted once, by whoever told its producer."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._ended = Counter(
            "memrepo_requests",
            "Requests that ended here: done, failed or cancelled; error is the class of what a failed one was told.",
            ["operation", "outcome", "error"],
            registry=registry,
        )
        self._total = Histogram(
            "memrepo_request_seconds",
            "From being enqueued until the answer was stored (its begin by the producer's clock).",
            ["operation"],
            buckets=_SECONDS,
            registry=registry,
        )
        phases = Histogram(
            "memrepo_request_phase_seconds",
            "The parts of that: waiting in the queue, then for its agent's turn; memrepo's own work; waiting for "
            "the store; answering.",
            ["phase"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._phases = {phase: phases.labels(phase) for phase in PHASES}
        self._group = Histogram(
            "memrepo_group_requests",
            "How many requests shared a request's turn.",
            buckets=_REQUESTS,
            registry=registry,
        )

    def __call__(self, request: RequestEnded) -> None:
        """Count one request."""
        self._ended.labels(request.operation, request.outcome, request.error or "").inc()
        self._total.labels(request.operation).observe(request.total_s)
        for phase, histogram in self._phases.items():
            histogram.observe(getattr(request, f"{phase}_s"))
        self._group.observe(request.group)
