"""What Flower would show: its own state and metrics, fed by the events on a broker."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import redis
from celery import Celery
from flower.events import EventsState
from prometheus_client import REGISTRY

from tests.support.waiting import wait_for

FINAL = {"SUCCESS", "FAILURE", "REVOKED"}


class FlowerView:
    """Listens while the block runs."""

    def __init__(self, broker_url: str) -> None:
        self._app = Celery(broker=broker_url, set_as_current=False)
        self._state = EventsState(max_tasks_in_memory=10_000)
        self._broker_url, self._stop = broker_url, threading.Event()
        self._thread = threading.Thread(target=self._listen)

    def __enter__(self) -> FlowerView:
        """Return when the broker knows of it: what is published before is lost."""
        with redis.Redis.from_url(self._broker_url) as broker:
            others = broker.pubsub_numpat()
            self._thread.start()
            wait_for(lambda: broker.pubsub_numpat() > others, "events to be listened to")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def task(self, task_id: str) -> dict[str, Any]:
        """Return what is shown of one task."""
        found = self._state.tasks.get(task_id)
        if found is None:
            return {"state": None}
        return {**found.as_dict(), "worker": found.worker.hostname if found.worker else None}

    def tasks(self, task_ids: Iterable[str], state: str | None = None) -> dict[str, dict[str, Any]]:
        """Return what is shown once each of them has ended, or is in the state that is waited for."""
        wanted = FINAL if state is None else {state}
        ids = list(task_ids)

        def shown() -> dict[str, dict[str, Any]] | None:
            tasks = {one: self.task(one) for one in ids}
            return tasks if all(task["state"] in wanted for task in tasks.values()) else None

        return wait_for(shown, f"all tasks to be shown as one of {sorted(wanted)}")

    @staticmethod
    def metric(name: str, worker: str) -> float:
        """Return the sum of what ``/metrics`` says of one worker."""
        return sum(
            sample.value
            for metric in REGISTRY.collect()
            for sample in metric.samples
            if sample.name == name and sample.labels["worker"] == worker
        )

    def _listen(self) -> None:
        with self._app.connection_for_read() as connection:
            receiver = self._app.events.Receiver(connection, handlers={"*": self._state.event})
            with receiver.consumer_context() as (listening, _, _):
                while not self._stop.is_set():
                    try:
                        listening.drain_events(timeout=0.2)
                    except TimeoutError:
                        continue
