"""The result backend: Celery's on Redis, with one round trip per result and the first final result winning.

Select it with ``memrepo_worker.queues.results:ResultBackend+redis://…``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from celery import states
from celery.backends.redis import RedisBackend

from memrepo.errors import StoreUnavailableError
from memrepo_worker.queues.scripts import STORE_PROGRESS, STORE_RESULTS

URL_PREFIX = "memrepo_worker.queues.results:ResultBackend+"
"""Put before a ``redis://`` URL, it makes Celery use this backend."""

KEEP_TRYING = {"max_retries": None, "interval_start": 0, "interval_step": 0.2, "interval_max": 2}
"""A result must not be lost because Redis is away: while it is, we wait (see ``kombu``'s retry policies)."""


class ResultBackend(RedisBackend):  # type: ignore[misc]  # celery ships no types
    """Stores what became of requests, in Celery's own form, and tells whoever waits.

    A final result (SUCCESS, FAILURE, REVOKED) stays: a second one is dropped, and a progress state never
    overwrites it. No traceback is stored. All methods wait until Redis takes the write.
    """

    def store_result(
        self,
        task_id: str,
        result: Any,  # noqa: ANN401 - any JSON value or exception
        state: str,
        traceback: object = None,  # noqa: ARG002 - Celery's signature; tracebacks stay in the worker
        request: Any = None,  # noqa: ANN401 - celery's Context
        **_: object,
    ) -> Any:  # noqa: ANN401 - as stored
        """Store one state of a task; a final one is published on its own and on the request's reply channel."""
        encoded = self.encode_result(result, state)
        meta = self._meta(task_id, encoded, state, request)
        key = self.get_key_for_task(task_id)
        if state in states.READY_STATES:
            reply_to = getattr(request, "reply_to", None) or ""
            self._run(STORE_RESULTS, [key], [self._keep_s, meta, reply_to])
        else:
            self._run(STORE_PROGRESS, [key], [self._keep_s, meta])
        return encoded

    def store_started(self, task_ids: Sequence[str], worker: str) -> list[bool]:
        """Mark tasks as started; return for each whether it shall run (it has no final result yet)."""
        return self._store_progress(task_ids, {"hostname": worker}, states.STARTED)

    def store_retrying(self, task_ids: Sequence[str]) -> None:
        """Mark tasks as waiting for the store."""
        error = StoreUnavailableError("the object store cannot be reached; the worker tries again")
        self._store_progress(task_ids, error, states.RETRY)

    def _store_progress(self, task_ids: Sequence[str], result: object, state: str) -> list[bool]:
        encoded = self.encode_result(result, state)
        metas = [self._meta(task_id, encoded, state, None) for task_id in task_ids]
        keys = [self.get_key_for_task(task_id) for task_id in task_ids]
        return [answer == 1 for answer in self._run(STORE_PROGRESS, keys, [self._keep_s, *metas])]

    def _meta(self, task_id: str, encoded: object, state: str, request: object) -> Any:  # noqa: ANN401
        meta = self._get_result_meta(encoded, state, None, request)
        meta["task_id"] = task_id
        return self.encode(meta)

    def _run(self, script: Any, keys: Sequence[Any], args: Sequence[Any]) -> Any:  # noqa: ANN401
        return self.ensure(script.run, (self.client, keys, args), **KEEP_TRYING)

    @property
    def _keep_s(self) -> int:
        return int(self.expires or 3600)
