"""What Flower would show: its own state and metrics, fed by the events on a broker."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from celery import Celery
from flower.events import EventsState
from prometheus_client import REGISTRY

from tests.support.events import HEARD, wait_until_heard
from tests.support.waiting import wait_for

FINAL = {"SUCCESS", "FAILURE", "REVOKED"}


class FlowerView:
    """Listens while the block runs."""

    def __init__(self, broker_url: str) -> None:
        self._app = Celery(broker=broker_url, set_as_current=False)
        self._state = EventsState(max_tasks_in_memory=10_000)
        self._stop, self._heard = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._listen)

    def __enter__(self) -> FlowerView:
        """Begin; what is told from here on is heard."""
        self._thread.start()
        wait_until_heard(self._app, self._heard)
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
            handlers = {"*": self._state.event, HEARD: lambda _: self._heard.set()}
            receiver = self._app.events.Receiver(connection, handlers=handlers)
            with receiver.consumer_context() as (listening, _, _):
                while not self._stop.is_set():
                    try:
                        listening.drain_events(timeout=0.2)
                    except TimeoutError:
                        continue
