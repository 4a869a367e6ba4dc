"""What one search may take, whatever is looked for and wherever."""

from __future__ import annotations

import math
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from memrepo.errors import TooLargeError
from memrepo.limits import KIB, Limits
from memrepo.wire.operations import build
from memrepo.wire.requests.search import SearchRequest
from memrepo_worker.group import Agent, Group, Lease
from memrepo_worker.store.backends.local import LocalStore
from tests.service.test_a_turn_is_bounded import TickingClock
from tests.support.writers import AGENT, NOW_S, commit, create, writer

SLOW = "[ab]*a[ab]{900}c"
"""Each byte of a text of these letters leaves hundreds of ways to go on."""


def search(text: str, **options: Any) -> SearchRequest:
    return build(
        SearchRequest,
        org_id=AGENT.org_id,
        agent_id=AGENT.agent_id,
        request_id="search-1",
        enqueued_at=NOW_S,
        text=text,
        **options,
    )


def slow_text(lines: int) -> str:
    chance = random.Random(1)
    return "".join("".join(chance.choices("ab", k=2_000)) + "\n" for _ in range(lines))


def test_a_search_that_takes_too_long_is_ended_and_says_by_which_bound(
    store: LocalStore, tmp_path: Path
) -> None:
    clock = TickingClock()
    with writer(store, tmp_path / "one", monotonic=clock, turn_time_s=2.0) as one:
        one.ask(create(a=slow_text(50)))
        clock.step_s = 9.0
        with pytest.raises(TooLargeError, match="20 s") as caught:
            one.ask(search(SLOW, regex=True))

        assert caught.value.details["bound"] == "turn_time_s"
        assert one.counters.snapshot()["bounds.turn_time"] == 1
        assert [match.line for match in one.ask(search("a", limit=3))] == [1, 2, 3]


def test_other_agents_are_served_while_a_slow_pattern_is_looked_for(
    store: LocalStore, tmp_path: Path
) -> None:
    other = Agent("acme", "other")
    with (
        writer(store, tmp_path / "one", turn_time_s=0.1) as one,
        ThreadPoolExecutor(1) as thread,
    ):
        one.ask(create(a=slow_text(20) * 100))
        slow = thread.submit(one.ask, search(SLOW, regex=True))
        served = 0
        while not slow.done():
            request = commit(f"{served}", {"a": str(served)}, create_repo_if_missing=True)
            beside = request.model_copy(update={"agent_id": other.agent_id})
            one.service(Group(other, (beside,), Lease("lease", math.inf)))
            served += 1

        assert served > 1
        assert isinstance(slow.exception(), TooLargeError)


@pytest.mark.parametrize("options", [{}, {"context": 4, "limit": 2}])
def test_matches_that_do_not_fit_into_one_reply_are_refused(
    store: LocalStore, tmp_path: Path, options: dict[str, Any]
) -> None:
    limits = Limits(request_bytes_max=8 * KIB)
    with writer(store, tmp_path / "one", limits=limits) as one:
        one.ask(create(a="x" * KIB + "\n" + ("y" * KIB + "\n") * 4, b=("x" * KIB + "\n") * 6))
        one.ask(commit("more", {"c": ("x" * KIB + "\n") * 6}))

        with pytest.raises(TooLargeError) as caught:
            one.ask(search("x", **options))

        assert caught.value.details["field"] == "limit"
        assert len(one.ask(search("x", limit=7))) == 7


def test_no_more_files_are_looked_at_than_a_request_may(store: LocalStore, tmp_path: Path) -> None:
    with writer(store, tmp_path / "one", walk_entries_max=20) as one:
        one.ask(create(**{f"f{number}": "x" for number in range(15)}))
        one.ask(commit("more", {f"g{number}": "x" for number in range(15)}))

        with pytest.raises(TooLargeError) as caught:
            one.ask(search("nowhere"))

        assert caught.value.details["bound"] == "walk_entries_max"
        assert len(one.ask(search("x", limit=10))) == 10
