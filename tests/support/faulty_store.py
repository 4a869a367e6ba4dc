"""Stores that misbehave on purpose: for tests, and for rehearsals.

Everything here is chosen by a plan, so that what failed once can be done again.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from itertools import count
from random import Random

from memrepo_worker.store.decorators.base import StoreDecorator
from memrepo_worker.store.interface import (
    ALWAYS,
    GET_BYTES_MAX,
    Absent,
    FolderPage,
    ListedObject,
    NotThereError,
    Pin,
    PreconditionFailedError,
    Store,
    StoredObject,
    StoredRange,
    UnavailableError,
    Version,
    When,
)


class Operation(Enum):
    """The interface's methods."""

    GET = "get"
    PUT = "put"
    LIST = "list"
    DELETE = "delete"


class Fault(Enum):
    """What happens to a request. All but ``SLOW`` end in ``UnavailableError``, and only the store knows the rest."""

    LOST = "the request was lost"
    ANSWER_LOST = "it was done, the answer was lost"
    LATE = "it is under way, and will be done after somebody was told that it is not"
    TIMEOUT = "no answer in time; nothing was done"
    CONFLICT = "409"
    THROTTLED = "429"
    OVERLOADED = "503"
    TORN = "the listing broke in the middle"
    SLOW = "done, but slowly"


_ANY = (Fault.LOST, Fault.TIMEOUT, Fault.THROTTLED, Fault.OVERLOADED, Fault.SLOW)

FAULTS_OF: Mapping[Operation, tuple[Fault, ...]] = {
    Operation.GET: _ANY,
    Operation.PUT: (*_ANY, Fault.ANSWER_LOST, Fault.LATE, Fault.CONFLICT),
    Operation.LIST: (*_ANY, Fault.TORN),
    Operation.DELETE: (*_ANY, Fault.ANSWER_LOST),
}

Plan = Callable[[Operation, str], Fault | None]
"""Which fault the next request gets, from its operation and its key or prefix."""


def seeded(random: Random, rate: float) -> Plan:
    """Plan a fault for that share of the requests, any that the operation can have."""

    def fault(operation: Operation, _key: str) -> Fault | None:
        return random.choice(FAULTS_OF[operation]) if random.random() < rate else None

    return fault


def at_request(number: int, fault: Fault) -> Plan:
    """Plan one fault, for the request of that number, counted from 0."""
    numbers = count()
    return lambda operation, _key: (
        fault if next(numbers) == number and fault in FAULTS_OF[operation] else None
    )


@dataclass(slots=True)
class _LatePut:
    key: str
    data: bytes
    when: When
    requests_left: int


class FaultyStore(StoreDecorator):
    """Does to requests what a plan says; ``injected`` counts the faults.

    A late put lands right after the first ``get`` of its key that found nothing, or else after ``late_requests``
    more requests, or when ``land_late_puts`` is called.
    """

    def __init__(
        self,
        store: Store,
        plan: Plan,
        *,
        late_requests: int = 4,
        slow_s: float = 0.001,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(store)
        self.injected: Counter[Fault] = Counter()
        self._plan = plan
        self._late_requests = late_requests
        self._slow_s = slow_s
        self._sleep = sleep
        self._lock = threading.Lock()
        self._late: list[_LatePut] = []

    def get(self, key: str, bytes_max: int = GET_BYTES_MAX) -> StoredObject:
        """Return the object, unless the plan says otherwise."""
        self._fail_before(self._next_fault(Operation.GET, key))
        try:
            return self._store.get(key, bytes_max)
        except NotThereError:
            self._land(lambda put: put.key == key)
            raise

    def get_range(self, key: str, start: int, bytes_max: int, pin: Pin | None = None) -> StoredRange:
        """Return some bytes of the object, unless the plan says otherwise; each range is a request."""
        self._fail_before(self._next_fault(Operation.GET, key))
        return self._store.get_range(key, start, bytes_max, pin)

    def put_stream(self, key: str, parts: Iterable[bytes], when: Absent | Version) -> Version:
        """Do as with any other put."""
        return self.put(key, b"".join(parts), when)

    def put(self, key: str, data: bytes, when: When) -> Version:
        """Write the object, or not, or later; and tell, or not."""
        fault = self._next_fault(Operation.PUT, key)
        if fault is Fault.LATE:
            with self._lock:
                self._late.append(_LatePut(key, data, when, self._late_requests))
        self._fail_before(fault)
        version = self._store.put(key, data, when)
        _fail_after(fault)
        return version

    def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        """Yield the objects, or the first half of them."""
        fault = self._next_fault(Operation.LIST, prefix)
        self._fail_before(fault)
        objects = [*self._store.list(prefix, start_after)]
        yield from objects[: len(objects) // 2] if fault is Fault.TORN else objects
        _fail_after(fault)

    def folders(self, prefix: str, after: str, names_max: int) -> FolderPage:
        """Return some folders of a folder, unless the plan says otherwise."""
        fault = self._next_fault(Operation.LIST, prefix)
        self._fail_before(fault)
        page = self._store.folders(prefix, after, names_max)
        _fail_after(fault)
        return page

    def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects, or not; and tell, or not."""
        names = [*keys]
        fault = self._next_fault(Operation.DELETE, names[0] if names else "")
        self._fail_before(fault)
        self._store.delete(names)
        _fail_after(fault)

    def land_late_puts(self) -> None:
        """Let every put that is still under way arrive."""
        self._land(lambda _: True)

    def _next_fault(self, operation: Operation, key: str) -> Fault | None:
        with self._lock:
            for put in self._late:
                put.requests_left -= 1
            fault = self._plan(operation, key)
            if fault is not None:
                self.injected[fault] += 1
        self._land(lambda put: put.requests_left < 0)
        return fault

    def _land(self, due: Callable[[_LatePut], bool]) -> None:
        with self._lock:
            landing = [put for put in self._late if due(put)]
            self._late = [put for put in self._late if put not in landing]
        for put in landing:
            with suppress(PreconditionFailedError):
                self._store.put(put.key, put.data, put.when)

    def _fail_before(self, fault: Fault | None) -> None:
        if fault is Fault.SLOW:
            self._sleep(self._slow_s)
        elif fault not in (None, Fault.ANSWER_LOST, Fault.TORN):
            raise UnavailableError(f"{self.name}: {fault.value}")


def _fail_after(fault: Fault | None) -> None:
    if fault in (Fault.ANSWER_LOST, Fault.TORN):
        raise UnavailableError(fault.value)


class IgnoringStore(StoreDecorator):
    """Drops the condition of every put: what servers do that do not know the header."""

    def put_stream(self, key: str, parts: Iterable[bytes], when: Absent | Version) -> Version:
        """Write the object, whatever the condition."""
        return self.put(key, b"".join(parts), when)

    def put(self, key: str, data: bytes, when: When) -> Version:
        """Write the object, whatever the condition."""
        return self._store.put(key, data, ALWAYS)
