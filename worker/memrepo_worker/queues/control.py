"""Remote-control commands that ``celery inspect`` adds to Celery's own."""

from __future__ import annotations

from typing import Any

from celery.worker.control import inspect_command


@inspect_command()  # type: ignore[untyped-decorator]  # celery ships no types
def memrepo_counters(state: Any) -> dict[str, int]:  # noqa: ANN401 - celery's panel state
    """Return what this worker has counted since it started, e.g. ``store.put.requests``."""
    return dict(state.consumer.intake.counters.snapshot())
