"""One line per request: whose it was, what came of it, and where its time went."""

from __future__ import annotations

import logging

from memrepo_worker.logs import REQUESTS_LOGGER, log
from memrepo_worker.observe import RequestEnded

logger = logging.getLogger(REQUESTS_LOGGER)

_PHASES = ("queue", "mailbox", "work", "store", "answer")


def tell_request(request: RequestEnded) -> None:
    """Write the line of a request; a listener of ``Counters``."""
    spent_ms = {name: _ms(getattr(request, f"{name}_s")) for name in _PHASES}
    total_ms = _ms(request.total_s)
    phases = ", ".join(f"{name} {value:.1f}" for name, value in spent_ms.items())
    shared = f"; {request.group} in its group" if request.group > 1 else ""
    result = request.error or request.summary
    message = (
        f"{request.operation} {request.agent or '?'} {request.request_id} {request.outcome} in {total_ms:.1f} ms "
        f"({phases}{shared}): {result}"
    )
    fields = {
        "operation": request.operation,
        "agent": request.agent,
        "request_id": request.request_id,
        "job_id": request.job_id,
        "outcome": request.outcome,
        "error": request.error,
        "result": request.summary,
        "group": request.group,
        **{f"{name}_ms": value for name, value in spent_ms.items()},
        "total_ms": total_ms,
    }
    log(logger, logging.INFO, "request", message, fields)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
