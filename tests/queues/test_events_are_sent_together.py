"""Events of requests are published together by Celery's loop, in order, and at every end of a connection."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from celery import Celery
from celery.events import EventDispatcher

from memrepo_worker.queues.consumer.events import FLUSH_AFTER_S, TaskEvents
from tests.support.waiting import wait_for


class Published(EventDispatcher):
    """Celery's dispatcher; what it publishes is noted, with the thread that did."""

    def __init__(self, app: Celery, silence: threading.Event) -> None:
        super().__init__(
            app.connection_for_write(),
            hostname="w@h",
            buffer_group=["task"],
            on_send_buffered=self._wake_loop,
            app=app,
        )
        self.silence = silence
        self.batches: list[list[str]] = []
        self.threads: set[int] = set()
        self.woken = 0

    @property
    def uuids(self) -> list[str]:
        return [uuid for batch in self.batches for uuid in batch]

    def _wake_loop(self) -> None:
        self.woken += 1

    def _publish(self, event: Any, producer: object, routing_key: str, **_: object) -> None:
        self.threads.add(threading.get_ident())
        self.silence.wait(10)
        events = event if isinstance(event, list) else [event]
        self.batches.append([one["uuid"] for one in events])


@dataclass
class Loop:
    """What Celery's loop is asked to do later; it is done when the test says so."""

    asked: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        self.asked.append((seconds, work))

    def go_on(self) -> None:
        asked, self.asked = self.asked, []
        for _, work in asked:
            work()


class Consumer:
    """What is needed of Celery's; while ``answers`` is not set, its broker is silent."""

    def __init__(self) -> None:
        self.app = Celery(broker="memory://", set_as_current=False)
        self.answers = threading.Event()
        self.answers.set()
        self.event_dispatcher: Any = self.connect()

    def connect(self) -> Published:
        return Published(self.app, self.answers)


@pytest.fixture
def consumer() -> Consumer:
    return Consumer()


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def now() -> list[float]:
    """The time, which stands still until a test changes it."""
    return [0.0]


@pytest.fixture
def events(consumer: Consumer, loop: Loop, now: list[float]) -> TaskEvents:
    events = TaskEvents(consumer, loop.later, clock=lambda: now[0])
    events.resume()
    return events


def test_events_are_published_together_in_order_and_by_the_loop_alone(
    events: TaskEvents, consumer: Consumer, loop: Loop
) -> None:
    wanted = [str(number) for number in range(100)]

    def serve() -> None:
        for uuid in wanted:
            events.send("task-received", uuid)

    thread = threading.Thread(target=serve)
    thread.start()
    thread.join()
    assert consumer.event_dispatcher.batches == []  # not even after 24
    assert [seconds for seconds, _ in loop.asked] == [FLUSH_AFTER_S]  # woken once for all
    loop.go_on()

    assert consumer.event_dispatcher.batches == [wanted]
    assert consumer.event_dispatcher.threads == {threading.get_ident()}
    assert consumer.event_dispatcher.woken == 0


def test_no_event_is_later_than_a_tenth_of_a_second() -> None:
    assert FLUSH_AFTER_S < 0.1


def test_nobody_waits_to_send_an_event_while_the_broker_is_silent(
    events: TaskEvents, consumer: Consumer, loop: Loop
) -> None:
    consumer.answers.clear()
    events.send("task-received", "first")
    publishing = threading.Thread(target=loop.go_on)
    publishing.start()
    wait_for(lambda: consumer.event_dispatcher.threads, "the publishing to have begun")

    for number in range(30):
        events.send("task-started", str(number))  # it would hang here

    assert publishing.is_alive()
    consumer.answers.set()
    publishing.join()
    loop.go_on()
    assert consumer.event_dispatcher.uuids == ["first", *map(str, range(30))]


def test_after_each_flush_the_next_event_asks_for_another(
    events: TaskEvents, consumer: Consumer, loop: Loop
) -> None:
    for uuid in ("one", "two", "three"):
        events.send("task-started", uuid)
        loop.go_on()

    assert consumer.event_dispatcher.batches == [["one"], ["two"], ["three"]]


def test_a_loop_that_forgot_what_it_was_asked_is_asked_again(
    events: TaskEvents, consumer: Consumer, loop: Loop, now: list[float]
) -> None:
    events.send("task-started", "one")
    loop.asked.clear()
    now[0] += 2
    events.send("task-succeeded", "one")

    loop.go_on()

    assert consumer.event_dispatcher.uuids == ["one", "one"]


def test_what_waits_when_a_worker_stops_is_published_at_once(events: TaskEvents, consumer: Consumer) -> None:
    events.send("task-succeeded", "last")

    events.flush(timeout_s=5)

    assert consumer.event_dispatcher.uuids == ["last"]


def test_a_silent_broker_holds_no_worker_that_stops(events: TaskEvents, consumer: Consumer) -> None:
    consumer.answers.clear()
    events.send("task-succeeded", "last")

    events.flush(timeout_s=0.01)  # it would hang here

    assert consumer.event_dispatcher.uuids == []
    consumer.answers.set()


def test_what_waits_when_the_connection_is_made_anew_is_published_first(
    events: TaskEvents, consumer: Consumer, loop: Loop
) -> None:
    events.send("task-started", "before")
    consumer.event_dispatcher.close()
    consumer.event_dispatcher = None
    loop.go_on()
    events.send("task-succeeded", "between")

    consumer.event_dispatcher = consumer.connect()
    events.resume()
    events.send("task-received", "after")
    loop.go_on()

    assert consumer.event_dispatcher.uuids == ["before", "between", "after"]


def test_what_other_tasks_had_sent_when_the_connection_was_lost_is_published_over_the_next_one(
    events: TaskEvents, consumer: Consumer
) -> None:
    consumer.event_dispatcher.send("task-received", uuid="another's")

    consumer.event_dispatcher = consumer.connect()
    events.resume()

    assert consumer.event_dispatcher.uuids == ["another's"]


def test_other_tasks_of_the_worker_send_as_celery_does(
    events: TaskEvents, consumer: Consumer, loop: Loop
) -> None:
    events.send("task-received", "ours")
    loop.go_on()

    consumer.event_dispatcher.send("task-received", uuid="another's")

    assert consumer.event_dispatcher.woken == 1
    assert consumer.event_dispatcher.buffer_limit == 24
