"""The app that the ``celery`` command finds: ``celery -A memrepo_worker flower``, ``… inspect ping``, ``… status``.

It knows the queues and the broker by the worker's settings, and never consumes: workers are ``memrepo worker``. What
cannot be done ends the command with one line. (Celery loads this while it has parsed its command line, and shows the
traceback of every ``Exception``.)
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

import click
from celery import Celery

from memrepo.errors import InvalidRequestError
from memrepo.redis.celery_app import deafen_default
from memrepo.settings import require_cell
from memrepo_worker.app import build_app
from memrepo_worker.settings import WorkerSettings

_NO_WORKER = "Celery's own worker cannot serve memrepo's queues. Run: memrepo worker"
_REFUSED: Mapping[str, str] = {
    "worker": _NO_WORKER,
    "multi": _NO_WORKER,
    "beat": "memrepo has nothing to schedule, so it needs no beat.",
    "purge": (
        "It would throw away requests whose senders were told that the broker holds them. To have one not executed, "
        "run: memrepo job ID --cancel"
    ),
}
"""Commands of Celery that make no sense here, or would do harm."""


def _build() -> Celery:
    command = click.get_current_context(silent=True)
    reason = _REFUSED.get(command.invoked_subcommand or "") if command is not None else None
    if reason is not None:
        sys.exit(f"Error: {reason}")
    try:
        settings = WorkerSettings.from_env()
        require_cell(settings.cells, settings.cell)
    except InvalidRequestError as error:
        sys.exit(f"Error: {error}")
    if command is not None:  # else it is somebody's program that imports this
        deafen_default(settings.broker, settings.results)
    return build_app(settings)


app = _build()
