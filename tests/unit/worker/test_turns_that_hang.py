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


def running(turns: RunningTurns[Any], number: int, store_wait_s: float = HANGS_S) -> list[RunningTurn[Any]]:
    begun = [
        RunningTurn(
            cast("Any", Group(Agent("acme", f"agent-{index}"), store_wait_s)), is_retry=False, is_heavy=False
        )
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


def test_threads_are_left_to_agents_whose_store_has_answered_also_before_others_are_seen_to_hang() -> None:
    turns: RunningTurns[Any] = RunningTurns(turns_max=8, hanging_max=20)
    for turn in running(turns, 1, store_wait_s=0.0):
        turns.end(turn, 0.001, well=True)
    proven, unproven = Agent("acme", "agent-0"), Agent("acme", "new")

    begun = running(turns, 7, store_wait_s=HANGS_S / 2)[1:]
    assert (turns.may_begin(unproven), turns.may_begin(proven)) == (False, True)
    assert not turns.is_full_of_unproven

    for turn in begun:
        cast("Any", turn.group).store_wait_s = HANGS_S
    assert turns.look() == (6, 0)
    assert turns.may_begin(unproven)
