"""Several actors at one store, each a thread that does one request at a time, in the order of a schedule."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from itertools import combinations
from random import Random
from typing import Any, TypeVar

from memrepo_worker.store.interface import (
    GET_BYTES_MAX,
    Absent,
    FolderPage,
    ListedObject,
    Pin,
    Store,
    StoredObject,
    StoredRange,
    Version,
    When,
)

T = TypeVar("T")

Actor = Callable[[Store], object]
_PATIENCE_S = 20


class InlineExecutor(Executor):
    """Does at once, in the thread that asks, what others do side by side."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        done: Future[T] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - handed on as the future's
            done.set_exception(error)
        return done


class _Gate:
    """Where an actor waits before each request. ``is_at_gate`` says whether it waits there now."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._may_go = False
        self._waits = False
        self.is_over = False

    def pass_through(self) -> None:
        with self._changed:
            self._waits = True
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._may_go, _PATIENCE_S)
            self._may_go = self._waits = False

    def end(self) -> None:
        with self._changed:
            self.is_over = True
            self._changed.notify_all()

    def settle(self) -> None:
        """Return when the actor waits for its next request, or is over."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._waits or self.is_over, _PATIENCE_S)

    def step(self) -> bool:
        """Let it do one request, and whatever it does until the next; return whether it has come to its end by that."""
        with self._changed:
            if self.is_over:
                return False
            self._may_go = True
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: not self._may_go, _PATIENCE_S)
        self.settle()
        return self.is_over


class _GatedStore:
    def __init__(self, store: Store, gate: _Gate) -> None:
        self._store = store
        self._gate = gate

    @property
    def name(self) -> str:
        return self._store.name

    def get(self, key: str, bytes_max: int = GET_BYTES_MAX) -> StoredObject:
        self._gate.pass_through()
        return self._store.get(key, bytes_max)

    def get_range(self, key: str, start: int, bytes_max: int, pin: Pin | None = None) -> StoredRange:
        self._gate.pass_through()
        return self._store.get_range(key, start, bytes_max, pin)

    def put_stream(self, key: str, parts: Iterable[bytes], when: Absent | Version) -> Version:
        return self.put(key, b"".join(parts), when)

    def put(self, key: str, data: bytes, when: When) -> Version:
        self._gate.pass_through()
        return self._store.put(key, data, when)

    def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        self._gate.pass_through()
        return iter([*self._store.list(prefix, start_after)])

    def folders(self, prefix: str, after: str, names_max: int) -> FolderPage:
        self._gate.pass_through()
        return self._store.folders(prefix, after, names_max)

    def delete(self, keys: Iterable[str]) -> None:
        self._gate.pass_through()
        self._store.delete(keys)


class _Actors:
    """The threads, and who of them has come to its end."""

    def __init__(self, store: Store, actors: Sequence[Actor], after_end: Callable[[int], object]) -> None:
        self.gates = [_Gate() for _ in actors]
        self.faults: list[BaseException] = []
        self._after_end = after_end
        self._threads = [
            threading.Thread(target=self._act, args=(store, actor, gate), daemon=True)
            for actor, gate in zip(actors, self.gates, strict=True)
        ]

    def begin(self) -> None:
        for thread, gate in zip(self._threads, self.gates, strict=True):
            thread.start()
            gate.settle()

    def step(self, number: int) -> None:
        if self.gates[number].step():
            self._after_end(number)

    def end(self) -> None:
        for number, gate in enumerate(self.gates):
            while not gate.is_over:
                self.step(number)
        for thread in self._threads:
            thread.join(_PATIENCE_S)
        if self.faults:
            raise self.faults[0]

    def _act(self, store: Store, actor: Actor, gate: _Gate) -> None:
        try:
            actor(_GatedStore(store, gate))
        except BaseException as error:  # noqa: BLE001 - raised in the test's thread
            self.faults.append(error)
        finally:
            gate.end()


def run(
    store: Store, actors: Sequence[Actor], schedule: Iterable[int], after_end: Callable[[int], object]
) -> None:
    """Have the actors do their requests in the order of a schedule of their numbers; what is left is done in turn.

    ``after_end`` is called with the number of each actor that has come to its end.
    """
    threads = _Actors(store, actors, after_end)
    threads.begin()
    for number in schedule:
        threads.step(number)
    threads.end()


def all_orders(first: int, second: int) -> Iterator[list[int]]:
    """Yield every order of so many requests of actor 0 and so many of actor 1."""
    for places in combinations(range(first + second), first):
        yield [0 if place in places else 1 for place in range(first + second)]


def some_orders(random: Random, requests: Sequence[int], number: int) -> Iterator[list[int]]:
    """Yield orders of so many requests of each actor, by chance."""
    whole = [actor for actor, count in enumerate(requests) for _ in range(count)]
    for _ in range(number):
        yield random.sample(whole, len(whole))
