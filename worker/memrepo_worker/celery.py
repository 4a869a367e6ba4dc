"""The app that the ``celery`` command finds: ``celery -A memrepo_worker flower``, ``… inspect ping``, ``… status``.

It knows the queues and the broker by the worker's settings, and never consumes: workers are ``memrepo worker``.
"""

from __future__ import annotations

from memrepo_worker.app import build_app
from memrepo_worker.settings import WorkerSettings

app = build_app(WorkerSettings.from_env())
