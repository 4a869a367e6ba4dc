"""One clock, a worker's or a producer's, jumps by a day and an hour: no write is settled twice, or told in two ways.

So for each kind of write, and for what is drafted ahead while an entry before it is on its way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from memrepo.errors import MemoryRepoError, RequestExpiredError
from memrepo.settings import environment
from memrepo.wire.requests.base import Request
from memrepo_worker.git.pack_sizes import find_blob
from memrepo_worker.group import Group, Lease, Success
from memrepo_worker.journal.entry import decode_entry
from memrepo_worker.journal.ledger import LedgerLine, decode_lines
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.decorators.base import StoreDecorator
from memrepo_worker.store.interface import ABSENT, Absent, UnavailableError, Version, When
from tests.service.test_every_write_is_applied_once import WRITES, on, prepare
from tests.support.hooked_store import HookedStore, answer_lost
from tests.support.jobs import present
from tests.support.watched_store import WatchedStore
from tests.support.writers import NOW_S, Writer, commit, create, writer

LONG = environment().get("LONG") == "1"
HOUR_S = 3600.0
JUMPS_S = (25 * HOUR_S, -25 * HOUR_S)
WHOSE = ("first worker", "second worker", "producer")
STEPS = ("asked", "answer lost", "flush", "asked again", "take over", "sent again")
LEDGER_BYTES_MAX = 1 << 20
CASES_EVERY = 1 if LONG else 7


class SeenStore(StoreDecorator):
    """Keeps the ledger lines of each entry that is really created."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.lines: list[LedgerLine] = []

    def put(self, key: str, data: bytes, when: When) -> Version:
        version = super().put(key, data, when)
        if when is ABSENT and "/journal/" in key:
            entry = decode_entry(1, data)
            blob = present(find_blob(entry.pack, entry.ledger_sha, LEDGER_BYTES_MAX))
            self.lines += decode_lines(blob)
        return version

    def put_stream(self, key: str, parts: Iterable[bytes], when: Absent | Version) -> Version:
        return self.put(key, b"".join(parts), when)

    def settled(self, request_id: str) -> int:
        """How many entries have settled a request."""
        return sum(line.request_id == request_id for line in self.lines)


def essence(outcome: Any) -> object:
    """Return what must not differ between two answers to one request."""
    if isinstance(outcome, MemoryRepoError):
        return type(outcome).__name__
    return getattr(outcome, "sha", None)


class Site:
    """Two workers over one store, and a producer; the time that each has is told by ``skew_s``."""

    def __init__(self, folder: Path, stack: ExitStack, store: MemoryStore) -> None:
        self.skew_s = dict.fromkeys(WHOSE, 0.0)
        self.told: dict[str, object] = {}
        self.seen = SeenStore(store)
        self.store = HookedStore(self.seen)
        self._folder = folder
        self._stack = stack
        self._opened = 0
        self.worker = self.open("first worker")

    def now_s(self, whose: str) -> float:
        """What somebody's clock says; the steps themselves take no time."""
        return NOW_S + self.skew_s[whose]

    def open(self, whose: str) -> Writer:
        """Open a worker that has nothing warm."""
        self._opened += 1
        cache = self._folder / f"cache-{self._opened}"
        return self._stack.enter_context(writer(self.store, cache, clock=lambda: self.now_s(whose)))

    def stamped(self, request: Request) -> Request:
        """Return a request as its producer sends it now."""
        return request.model_copy(update={"enqueued_at": self.now_s("producer")})

    def ask(self, request: Request) -> None:
        """Ask it, and hold the answer against what was told before and against the ledgers."""
        try:
            outcome: object = on(self.worker, request)
        except UnavailableError:
            return
        except MemoryRepoError as error:
            outcome = error
        self.hear(request, outcome)

    def hear(self, request: Request, outcome: object) -> None:
        """Hold an answer against what was told before, and against what the ledgers say."""
        settled = self.seen.settled(request.request_id)
        assert settled == 1, f"told as {outcome!r}, and settled {settled} times"
        assert self.told.setdefault(request.request_id, essence(outcome)) == essence(outcome)


def cases(begin: int) -> Iterator[tuple[str, float, bool]]:
    """Yield at which step a clock jumps, how far, and whether for good."""
    yield from [*product(STEPS, JUMPS_S, (True, False))][begin % CASES_EVERY :: CASES_EVERY]


@pytest.mark.parametrize("whose", WHOSE)
@pytest.mark.parametrize("name", WRITES)
def test_a_write_is_settled_once_and_told_in_one_way(tmp_path: Path, name: str, whose: str) -> None:
    begin = 3 * [*WRITES].index(name) + WHOSE.index(whose)
    for number, (at, jump_s, stays) in enumerate(cases(begin)):
        with ExitStack() as stack:
            site = Site(tmp_path / str(number), stack, MemoryStore())
            write = prepare(site.worker, WRITES[name])
            for step in STEPS:
                site.skew_s[whose] = jump_s if step == at or (stays and site.skew_s[whose]) else 0.0
                write = play(site, step, write)

            assert site.seen.settled(write.request_id) <= 1, (at, jump_s, stays)


def play(site: Site, step: str, write: Request) -> Request:
    """Do one step; return the write as it was sent last."""
    match step:
        case "asked":
            write = site.stamped(write)
            site.ask(write)
        case "answer lost":
            site.store.after_put = answer_lost
            site.ask(site.stamped(commit("lost", request_id="the-lost-one")))
            site.store.after_put = None
        case "flush":
            site.worker.service.close()
        case "asked again":
            site.ask(write)
        case "take over":
            site.worker = site.open("second worker")
            site.ask(write)
        case "sent again":
            write = site.stamped(write)
            site.ask(write)
            site.ask(site.stamped(commit("lost", request_id="the-lost-one")))
    return write


def test_without_a_jump_each_write_is_told_at_each_step(tmp_path: Path) -> None:
    for number, write in enumerate(WRITES.values()):
        with ExitStack() as stack:
            site = Site(tmp_path / str(number), stack, MemoryStore())
            request = prepare(site.worker, write)
            for step in STEPS:
                request = play(site, step, request)

            assert site.seen.settled(request.request_id) == 1
            assert request.request_id in site.told


MOMENTS = (
    "before the first",
    "while it is drafted",
    "while the first is put",
    "between",
    "while the second is put",
)


@pytest.mark.parametrize("stays", [True, False], ids=["for good", "for one step"])
@pytest.mark.parametrize("jump_s", JUMPS_S, ids=["forward", "back"])
@pytest.mark.parametrize("whose", ["first worker", "producer"])
@pytest.mark.parametrize("at", MOMENTS)
@pytest.mark.parametrize("answer", ["heard", "lost"])
def test_what_is_drafted_ahead_is_settled_once_and_told_in_one_way(
    tmp_path: Path, at: str, whose: str, jump_s: float, stays: bool, answer: str
) -> None:
    with ExitStack() as stack:
        store = WatchedStore()
        site = Site(tmp_path, stack, store)
        site.ask(create("the-beginning", a="1\n"))

        def reach(moment: str) -> None:
            site.skew_s[whose] = jump_s if moment == at or (stays and site.skew_s[whose]) else 0.0

        reach("before the first")
        first = [site.stamped(commit("first", request_id="request-first"))]
        following = [site.stamped(commit(name, request_id=f"request-{name}")) for name in ("second", "third")]

        def what_follows() -> Sequence[Request]:
            reach("while it is drafted")
            return following

        store.meanwhile = [lambda: reach("while the first is put")]
        if answer == "lost":
            site.store.after_put = answer_lost
        serve(site, first, what_follows)
        reach("between")
        store.meanwhile = [lambda: reach("while the second is put")]
        serve(site, following)
        reach("afterwards")
        serve(site, [*first, *following])
        site.worker = site.open("second worker")
        serve(site, [site.stamped(request) for request in (*first, *following)])

        messages = site.worker.messages()[1:]
        assert len({*messages}) == len(messages)
        done = {name for name, told in site.told.items() if told != RequestExpiredError.__name__}
        assert {f"request-{message}" for message in messages} == done - {"the-beginning"}
        assert len(site.told) == 4


def serve(
    site: Site, requests: Sequence[Request], following: Callable[[], Sequence[Request]] = tuple
) -> None:
    """Have a group served behind which others wait, as often as its store does not answer; each answer is heard."""
    lease = Lease(site.worker.lease_token, math.inf)
    group = Group(site.worker.agent, tuple(requests), lease, following=following)
    outcomes: Sequence[object] = ()
    while not outcomes:
        with suppress(UnavailableError):
            outcomes = site.worker.service(group)
    for request, outcome in zip(requests, outcomes, strict=True):
        site.hear(request, outcome.value if isinstance(outcome, Success) else outcome)


@pytest.mark.parametrize("answer", ["heard", "lost"])
def test_that_is_really_drafted_ahead(tmp_path: Path, answer: str) -> None:
    with ExitStack() as stack:
        site = Site(tmp_path, stack, WatchedStore())
        site.ask(create("the-beginning", a="1\n"))
        following = [commit("second")]
        if answer == "lost":
            site.store.after_put = answer_lost
        serve(site, [commit("first")], lambda: following)
        serve(site, following)

        assert site.worker.counters.snapshot()["drafts.ahead"] == 1
