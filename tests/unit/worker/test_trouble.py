from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

import pytest

from memrepo_worker.group import Agent
from memrepo_worker.store.interface import RefusedError, UnavailableError
from memrepo_worker.trouble import LastingTrouble, StoreTrouble
from tests.support.hand_clock import HandClock

ANN, BOB = Agent("acme", "ann"), Agent("acme", "bob")
AWAY = UnavailableError("s3://b at h:9000: connection refused (ECONNREFUSED)")


@dataclass(eq=False)
class Told(logging.Handler):
    """What was logged."""

    records: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def lines(self) -> list[str]:
        """Return the messages since this was asked last."""
        said, self.records = [record.getMessage() for record in self.records], []
        return said


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def logged() -> Told:
    return Told()


@pytest.fixture
def logger(logged: Told) -> logging.Logger:
    one = logging.Logger("trouble")
    one.addHandler(logged)
    one.setLevel(logging.INFO)
    return one


@pytest.fixture
def store(logger: logging.Logger, clock: HandClock) -> StoreTrouble:
    return StoreTrouble(logger, every_s=30, clock=clock, steady=clock)


def test_trouble_is_told_at_its_beginning_now_and_then_and_at_its_end(
    logger: logging.Logger, logged: Told, clock: HandClock
) -> None:
    trouble = LastingTrouble(logger, "broker.trouble", every_s=30, clock=clock)
    for _ in range(65):
        trouble.met("no heartbeat", "trying again")
        clock.now_s += 1
    trouble.over()
    trouble.over()
    assert logged.lines() == [
        "no heartbeat; trying again",
        "no heartbeat (for 30 s now); trying again",
        "no heartbeat (for 60 s now); trying again",
        "over after 65.0 s: no heartbeat",
    ]


def test_another_cause_is_told_at_once_and_causes_that_take_turns_a_few_times(
    logger: logging.Logger, logged: Told, clock: HandClock
) -> None:
    trouble = LastingTrouble(logger, "broker.trouble", every_s=30, clock=clock)
    for second in range(29):
        trouble.met("no heartbeat" if second % 2 == 0 else "a wrong password")
        clock.now_s += 1
    assert logged.lines() == ["no heartbeat", "a wrong password (for 1 s now)"]

    for number in range(10):
        trouble.met(f"cause {number}")
    assert logged.lines() == ["cause 0 (for 29 s now)", "cause 1 (for 29 s now)"]


def test_a_wait_for_the_store_says_why_for_whom_and_when_it_is_tried_next(
    store: StoreTrouble, logged: Told
) -> None:
    waiting = store.met(ANN, 12, AWAY, 0.42)
    assert waiting.reason == str(AWAY)
    assert waiting.since_s == 1000.0
    assert logged.lines() == [f"{AWAY}; 12 requests of acme/ann wait, next try in 0.4 s"]


def test_the_reason_and_its_beginning_stay_while_it_is_tried_again(
    store: StoreTrouble, clock: HandClock
) -> None:
    first = store.met(ANN, 1, AWAY, 0.1)
    clock.now_s += 7
    assert store.met(ANN, 1, AWAY, 0.2) == first
    clock.now_s += 7
    assert store.met(ANN, 1, RefusedError("403"), 0.2).since_s == first.since_s


def test_many_agents_that_wait_for_one_store_cost_no_line_each(
    store: StoreTrouble, logged: Told, clock: HandClock
) -> None:
    agents = [Agent("acme", f"a{number}") for number in range(50)]
    for _ in range(31):
        for agent in agents:
            store.met(agent, 2, AWAY, 1.0)
        clock.now_s += 1
    for agent in agents:
        store.over(agent)
    assert logged.lines() == [
        f"{AWAY}; 2 requests of acme/a0 wait, next try in 1.0 s",
        f"{AWAY} (for 30 s now); 100 requests of acme/a0, acme/a1, acme/a2 and 47 more wait, next try in 1.0 s",
        f"over after 31.0 s: {AWAY}",
    ]


def test_what_keeps_one_agent_away_is_told_beside_what_keeps_all(store: StoreTrouble, logged: Told) -> None:
    store.met(ANN, 1, AWAY, 1.0)
    store.met(BOB, 3, RefusedError("s3://b at h:9000: AccessDenied (403)"), 1.0)
    store.over(ANN)
    assert logged.lines() == [
        f"{AWAY}; 1 request of acme/ann waits, next try in 1.0 s",
        "s3://b at h:9000: AccessDenied (403); 3 requests of acme/bob wait, next try in 1.0 s",
        f"over after 0.0 s: {AWAY}",
    ]


def test_another_reason_of_the_same_wait_is_no_end(store: StoreTrouble, logged: Told) -> None:
    store.met(ANN, 1, AWAY, 1.0)
    store.met(ANN, 1, UnavailableError("s3://b at h:9000: SlowDown (503)"), 1.0)
    store.over(ANN)
    assert [line.partition(";")[0] for line in logged.lines()] == [
        str(AWAY),
        "s3://b at h:9000: SlowDown (503)",
        "over after 0.0 s: s3://b at h:9000: SlowDown (503)",
    ]


def test_a_wait_that_is_given_up_is_no_end(store: StoreTrouble, logged: Told) -> None:
    store.met(ANN, 1, AWAY, 1.0)
    store.over(ANN, answered=False)
    assert len(logged.lines()) == 1


def test_what_a_server_said_cannot_break_the_line_nor_the_record(store: StoreTrouble) -> None:
    assert store.met(ANN, 1, UnavailableError("said\n\x1b[31m"), 1.0).reason == r"said\n\x1b[31m"
