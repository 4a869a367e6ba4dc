"""The result backend: Celery's on Redis, with one round trip per result and the first final result winning.

Select it with ``memrepo_worker.queues.results:ResultBackend+redis://…``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from celery import states
from celery.backends.redis import RedisBackend

from memrepo.errors import StoreUnavailableError
from memrepo_worker.queues.scripts import STORE_PROGRESS, STORE_RESULTS

URL_PREFIX = "memrepo_worker.queues.results:ResultBackend+"
"""Put before a ``redis://`` URL, it makes Celery use this backend."""

KEEP_TRYING = {"max_retries": None, "interval_start": 0, "interval_step": 0.2, "interval_max": 2}
"""A result must not be lost because Redis is away: while it is, we wait (see ``kombu``'s retry policies)."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Who waits for a task's result, and where."""

    task_id: str
    reply_to: str | None


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
        reply_to = getattr(request, "reply_to", None) or ""
        script = STORE_RESULTS if state in states.READY_STATES else STORE_PROGRESS
        self._run(script, [key], [self._keep_s, meta, reply_to])
        return encoded

    def store_started(self, waiting: Sequence[Waiting], worker: str) -> list[bool]:
        """Mark tasks as started; return for each whether it shall run.

        One that has a final result already shall not; whoever waits for it is told that result again.
        """
        return self._store_progress(waiting, {"hostname": worker}, states.STARTED)

    def store_retrying(self, waiting: Sequence[Waiting]) -> None:
        """Mark tasks as waiting for the store."""
        error = StoreUnavailableError("the object store cannot be reached; the worker tries again")
        self._store_progress(waiting, error, states.RETRY)

    def _store_progress(self, waiting: Sequence[Waiting], result: object, state: str) -> list[bool]:
        encoded = self.encode_result(result, state)
        keys = [self.get_key_for_task(one.task_id) for one in waiting]
        args: list[Any] = [self._keep_s]
        for one in waiting:
            args += (self._meta(one.task_id, encoded, state, None), one.reply_to or "")
        return [answer == 1 for answer in self._run(STORE_PROGRESS, keys, args)]

    def _meta(self, task_id: str, encoded: object, state: str, request: object) -> Any:  # noqa: ANN401
        meta = self._get_result_meta(encoded, state, None, request)
        meta["task_id"] = task_id
        return self.encode(meta)

    def _run(self, script: Any, keys: Sequence[Any], args: Sequence[Any]) -> Any:  # noqa: ANN401
        return self.ensure(script.run, (self.client, keys, args), **KEEP_TRYING)

    @property
    def _keep_s(self) -> int:
        return int(self.expires or 3600)
