"""Which turns hang, and how often that is counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from memrepo_worker.group import Agent
from memrepo_worker.scheduling.line import Line
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


def proved(turns: RunningTurns[Any], *names: str) -> None:
    """Have turns of these agents end well."""
    for name in names:
        turn = RunningTurn(cast("Any", Group(Agent("acme", name), 0.0)), is_retry=False, is_heavy=False)
        turns.begin(turn)
        turns.end(turn, 0.001, well=True)


def newly_in_doubt(turns: RunningTurns[Any], *names: str) -> list[str]:
    """Look, and return which of these came into doubt by that."""
    turns.look()
    unproven = turns.newly_in_doubt
    return [name for name in names if unproven is not None and unproven(Agent("acme", name))]


def test_where_many_hang_a_store_that_had_answered_before_is_in_doubt() -> None:
    turns: RunningTurns[Any] = RunningTurns(turns_max=8, hanging_max=2)
    proved(turns, *(f"agent-{index}" for index in range(4)), "earlier")
    hanging = running(turns, 4)
    proved(turns, "later")
    earlier, later = Agent("acme", "earlier"), Agent("acme", "later")

    assert newly_in_doubt(turns, "earlier", "later") == ["earlier"]

    # A quarter of 8 and the 2 that are not counted may hang, and do.
    assert (turns.may_begin(earlier), turns.may_begin(later)) == (False, True)
    assert newly_in_doubt(turns, "earlier", "later") == [], "nobody more came into doubt"

    for turn in hanging[1:]:
        turns.end(turn, 0.001, well=False)
    turns.look()
    assert turns.proofs_in_doubt is None
    assert turns.may_begin(earlier)


def test_agents_that_hang_and_were_never_answered_bring_nobody_else_into_doubt() -> None:
    turns: RunningTurns[Any] = RunningTurns(turns_max=8, hanging_max=2)
    proved(turns, "earlier")
    running(turns, 4)

    turns.look()

    assert turns.may_begin(Agent("acme", "earlier"))
    assert not turns.may_begin(Agent("acme", "new"))


def test_those_whose_store_has_answered_later_are_tried_first() -> None:
    turns: RunningTurns[Any] = RunningTurns(turns_max=8, hanging_max=2)
    proved(turns, "agent-0", "agent-1", "first", "second", "third")
    running(turns, 2)
    turns.look()
    line = Line()
    for name in ("never", "first", "third", "second", "begun"):
        line.append(Agent("acme", name))

    line.hold_back(turns.newly_in_doubt, but={Agent("acme", "begun")})
    line.release_unproven(2, turns.proofs_in_doubt)

    assert [line.pop().agent_id for _ in range(len(line))] == ["third", "second", "begun"]
    line.release_unproven(9, turns.proofs_in_doubt)
    assert [line.pop().agent_id for _ in range(len(line))] == ["first", "never"]
