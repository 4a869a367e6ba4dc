"""A process has the bounds that it was given, or those of its machine where they are narrower, and is never left."""

from __future__ import annotations

import resource
from typing import Any

import psutil
import pytest

from memrepo.limits import MIB
from memrepo_worker.observe import Counters
from memrepo_worker.processes import ProcessBounds, Processes

ENV = {"PATH": "/usr/bin:/bin"}
ALLOWED = 512 * MIB


@pytest.fixture
def processes() -> Processes:
    return Processes(Counters())


def bounds_of(told: bytes, name: str) -> list[str]:
    """Return what ``/proc/self/limits`` says of one: the bound, and the most that it may be raised to."""
    (line,) = [line for line in told.decode().splitlines() if line.startswith(name)]
    return line.removeprefix(name).split()[:2]


def test_a_machine_that_allows_less_than_was_asked_bounds_it_by_that(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that is no root may lower what its processes may take, and not raise it."""
    prlimit = resource.prlimit
    most = {resource.RLIMIT_DATA: ALLOWED}

    def as_no_root(pid: int, which: int, limits: tuple[int, int] | None = None) -> Any:
        hard = most.get(which, prlimit(pid, which)[1])
        if limits is None:
            return hard, hard
        if hard != resource.RLIM_INFINITY and max(limits) > hard:
            raise PermissionError(1, "Operation not permitted")
        return prlimit(pid, which, limits)

    monkeypatch.setattr(resource, "prlimit", as_no_root)
    # What it reads is written once it has its bounds.
    told = processes.run(
        ["sh", "-c", "read _; cat /proc/self/limits"],
        env=ENV,
        timeout_s=30,
        stdin=b"\n",
        bounds=ProcessBounds(cpu_s=100, memory_bytes_max=4 * ALLOWED),
    )

    assert bounds_of(told, "Max data size") == [str(ALLOWED), str(ALLOWED)]
    assert bounds_of(told, "Max cpu time") == ["100", "101"]


def test_one_that_cannot_be_bounded_is_not_left_behind(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(resource, "prlimit", refused)
    before = {child.pid for child in psutil.Process().children()}

    with pytest.raises(PermissionError) as kept:  # and with it all that was at hand
        processes.run(["cat"], env=ENV, timeout_s=30, bounds=ProcessBounds(cpu_s=100))

    assert {child.pid for child in psutil.Process().children()} <= before, kept
