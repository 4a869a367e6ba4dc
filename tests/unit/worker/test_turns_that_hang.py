"""Which turns hang, and how often that is counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from memrepo_worker.group import Agent
from memrepo_worker.scheduling.turns import HANGS_S, RunningTurn, RunningTurns


@dataclass(eq=False)
class Group:
    """What is asked of a group: whose it is, and how long it waits for the store by now."""

    agent: Agent
    store_wait_s: float = HANGS_S


def running(turns: RunningTurns[Any], number: int) -> list[RunningTurn[Any]]:
    begun = [
        RunningTurn(cast("Any", Group(Agent("acme", f"agent-{index}"))), is_retry=False, is_heavy=False)
        for index in range(number)
    ]
    for turn in begun:
        turns.begin(turn)
    return begun


def test_each_turn_that_hangs_is_told_once_however_often_one_looks() -> None:
    turns: RunningTurns[Any] = RunningTurns(turns_max=8, hanging_max=2)
    begun = running(turns, 5)

    assert turns.look() == (2, 3)
    assert [turns.look() for _ in range(20)] == [(0, 0)] * 20

    for turn in begun:
        turns.end(turn, 0.001, well=True)
    running(turns, 3)
    assert turns.look() == (2, 1)
