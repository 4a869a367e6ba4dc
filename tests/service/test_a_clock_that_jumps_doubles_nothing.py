"""One clock, a worker's or a producer's, jumps by a day and an hour at any step: the commit is there exactly once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from memrepo.errors import RequestExpiredError
from memrepo.wire.requests.writes import CommitRequest
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.interface import UnavailableError
from tests.support.hooked_store import HookedStore, answer_lost
from tests.support.writers import NOW_S, Writer, commit, create, writer

HOUR_S = 3600.0
JUMPS_S = (25 * HOUR_S, -25 * HOUR_S)
STEPS = ("commit", "answer lost", "flush", "other commit", "delivered again", "take over", "sent again")


class Site:
    """Two workers over one store, and a producer; the time that each has is told by ``skew_s``."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.skew_s = {"first worker": 0.0, "second worker": 0.0, "producer": 0.0}
        self.told: list[tuple[str, str]] = []
        self._folder = folder
        self._stack = stack
        self._store = HookedStore(LocalStore(folder / "store"))
        self._opened = 0
        self.worker = self._open("first worker")
        self.request = commit("once", request_id="the-same-id", enqueued_at=NOW_S)

    def now_s(self, whose: str) -> float:
        """What somebody's clock says; the steps themselves take no time."""
        return NOW_S + self.skew_s[whose]

    def step(self, name: str) -> None:
        match name:
            case "commit":
                self.request = self._again()
                self._ask()
            case "answer lost":
                self._store.after_put = answer_lost
                self._ask("lost")
                self._store.after_put = None
            case "flush":
                self.worker.service.close()  # what it remembers goes to disk
            case "other commit":
                self._ask("other")
            case "delivered again":
                self._ask()
            case "take over":
                self.worker = self._open("second worker")
                self._ask()
            case "sent again":
                self.request = self._again()
                self._ask()

    def _again(self) -> CommitRequest:
        return self.request.model_copy(update={"enqueued_at": self.now_s("producer")})

    def _ask(self, other: str = "") -> None:
        request = self.request
        if other:
            request = commit(other, request_id=f"the-id-of-{other}", enqueued_at=self.now_s("producer"))
        try:
            self.told.append((request.message, self.worker.ask(request).sha))
        except RequestExpiredError:
            assert request.message not in self.messages(), "it says that it was not executed"
        except UnavailableError:
            assert other == "lost"

    def _open(self, whose: str) -> Writer:
        self._opened += 1
        cache = self._folder / f"cache-{self._opened}"
        return self._stack.enter_context(writer(self._store, cache, clock=lambda: self.now_s(whose)))

    def messages(self) -> list[str]:
        """The messages in history, as a worker sees them that has nothing yet, and the right time."""
        self._opened += 1
        with writer(self._store, self._folder / f"cache-{self._opened}") as sound:
            return sound.messages()


@pytest.fixture
def open_site(tmp_path: Path) -> Iterator[Callable[[], Site]]:
    with ExitStack() as stack:
        yield lambda: Site(tmp_path, stack)


@pytest.mark.parametrize("stays", [True, False], ids=["for good", "for one step"])
@pytest.mark.parametrize("jump_s", JUMPS_S, ids=["forward", "back"])
@pytest.mark.parametrize("whose", ["first worker", "second worker", "producer"])
@pytest.mark.parametrize("at", STEPS)
def test_it_is_there_once_if_anybody_was_told_so(
    open_site: Callable[[], Site], at: str, whose: str, jump_s: float, stays: bool
) -> None:
    site = open_site()
    site.worker.ask(create())
    for name in STEPS:
        site.skew_s[whose] = jump_s if name == at or (stays and site.skew_s[whose]) else 0.0
        site.step(name)

    messages = site.messages()
    assert [one for one in set(messages) if messages.count(one) > 1] == []
    for message in ("once", "lost", "other"):
        shas = {sha for told, sha in site.told if told == message}
        assert len(shas) <= messages.count(message)


def test_without_a_jump_all_are_there(open_site: Callable[[], Site]) -> None:
    site = open_site()
    site.worker.ask(create())
    for name in STEPS:
        site.step(name)

    assert [one for one in site.messages() if one in ("once", "lost", "other")] == ["once", "lost", "other"]
    assert len({sha for told, sha in site.told if told == "once"}) == 1
