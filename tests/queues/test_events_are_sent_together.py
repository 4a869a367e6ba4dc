"""Events of requests are published some times a second by one thread, in order, and at every end of a connection."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery
from celery.events import EventDispatcher

from memrepo.clock import steady_clock
from memrepo_worker.queues.consumer.events import FLUSH_EVERY_S, TaskEvents
from tests.support.waiting import wait_for


class Published(EventDispatcher):
    """Celery's dispatcher; what it publishes is noted, with the thread that did."""

    def __init__(self, app: Celery) -> None:
        super().__init__(app.connection_for_write(), hostname="w@h", buffer_group=["task"], app=app)
        self.uuids: list[str] = []
        self.batches: list[int] = []
        self.threads: set[str] = set()

    def _publish(self, event: Any, producer: object, routing_key: str, **_: object) -> None:
        events = event if isinstance(event, list) else [event]
        self.uuids += [one["uuid"] for one in events]
        self.batches.append(len(events))
        self.threads.add(threading.current_thread().name)


class Consumer:
    """What is needed of Celery's."""

    def __init__(self, connect: Callable[[], Published]) -> None:
        self.connect = connect
        self.event_dispatcher: Any = connect()


@pytest.fixture
def consumer() -> Consumer:
    app = Celery(broker="memory://", set_as_current=False)
    return Consumer(lambda: Published(app))


@pytest.fixture
def events(consumer: Consumer) -> TaskEvents:
    events = TaskEvents(consumer)
    events.resume()
    return events


def test_events_are_published_together_and_in_order_by_one_thread(
    events: TaskEvents, consumer: Consumer
) -> None:
    wanted = [str(number) for number in range(100)]

    for uuid in wanted:
        events.send("task-received", uuid)

    wait_for(lambda: len(consumer.event_dispatcher.uuids) == 100, "all events")
    assert consumer.event_dispatcher.uuids == wanted
    assert consumer.event_dispatcher.threads == {"memrepo-events"}
    assert len(consumer.event_dispatcher.batches) <= 10  # and not a hundred


def test_a_single_event_is_published_although_no_other_follows(
    events: TaskEvents, consumer: Consumer
) -> None:
    began_s = steady_clock()

    events.send("task-received", "alone")

    wait_for(lambda: consumer.event_dispatcher.uuids == ["alone"], "the event")
    assert FLUSH_EVERY_S <= 0.1  # the most that one may wait
    assert steady_clock() - began_s >= FLUSH_EVERY_S / 2  # so it did wait for others


def test_what_waits_when_a_worker_stops_is_published_at_once(events: TaskEvents, consumer: Consumer) -> None:
    events.send("task-succeeded", "last")

    events.flush(timeout_s=5)

    assert consumer.event_dispatcher.uuids == ["last"]


def test_what_waits_when_the_connection_is_made_anew_is_published_first(
    events: TaskEvents, consumer: Consumer
) -> None:
    consumer.event_dispatcher.close()
    events.send("task-started", "before")
    consumer.event_dispatcher = None
    events.send("task-succeeded", "between")

    consumer.event_dispatcher = consumer.connect()
    events.resume()
    events.send("task-received", "after")

    wait_for(lambda: len(consumer.event_dispatcher.uuids) == 3, "three events")
    assert consumer.event_dispatcher.uuids == ["before", "between", "after"]
