"""Plain Celery tasks to measure against: what they do in a worker, and how they are sent.

They run in the same worker as the real ones (app, pool, broker, result backend, events) from a queue of their own,
and are sent and heard of by the same client parts, so that only what the worker does differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any
from uuid import uuid4

from celery import Celery
from kombu.entity import Queue
from kombu.messaging import Producer

from memrepo.dispatch.publisher import Publisher
from memrepo.dispatch.replies import Replies
from memrepo.ids import new_id
from memrepo.jobs.pending import Pending
from memrepo.settings import Settings
from memrepo.wire.operations import TASK_PREFIX
from memrepo_worker.store.interface import ABSENT, Store

QUEUE = Queue("plain", routing_key="plain", no_declare=True)
BARE, ECHO, KEEP, NOTHING = (f"{TASK_PREFIX}plain.{name}" for name in ("bare", "echo", "keep", "nothing"))
TIMEOUT_S = 60.0


def register(app: Celery, store: Store) -> None:
    """Add the tasks to a worker's app."""
    kept: list[Any] = []

    def bare(size: int) -> None:
        store.put(f"plain/{uuid4().hex}", bytes(size), ABSENT)

    def keep(value: Any) -> None:
        kept[:] = [value]

    def echo() -> Any:
        return kept[0]

    def nothing() -> int:
        return 1

    bodies: dict[str, Callable[..., object]] = {BARE: bare, KEEP: keep, ECHO: echo, NOTHING: nothing}
    for name, body in bodies.items():
        app.task(body, name=name)


class PlainTasks:
    """Sends plain tasks and waits for them."""

    def __init__(self, settings: Settings) -> None:
        self._replies = Replies(settings, new_id())
        self._publisher = Publisher(settings, self._replies.wait_subscribed)
        self._replies.wait_subscribed(TIMEOUT_S)

    def call(self, name: str, **kwargs: Any) -> Any:
        """Send one task and return its result."""
        return self.send(name, [kwargs])[0].result(TIMEOUT_S)

    def send(self, name: str, calls: Sequence[Mapping[str, Any]]) -> list[Future[Any]]:
        """Send tasks, together; return the results to be."""
        jobs = [Pending(new_id(), lambda body, _: body.value) for _ in calls]
        for job in jobs:
            self._replies.watch(job)

        def publish(app: Celery, producer: Producer) -> None:
            with producer.batch():
                for job, kwargs in zip(jobs, calls, strict=True):
                    app.send_task(
                        name,
                        kwargs=dict(kwargs),
                        task_id=job.task_id,
                        queue=QUEUE,
                        reply_to=self._replies.channel,
                        producer=producer,
                        add_to_parent=False,
                        declare=[],
                        argsrepr="()",
                        kwargsrepr="",
                    )

        self._publisher.send(publish)
        return [job.future for job in jobs]

    def close(self) -> None:
        """Disconnect."""
        self._publisher.close()
        self._replies.close()
