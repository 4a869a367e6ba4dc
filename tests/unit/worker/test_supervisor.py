"""Several processes under one: what happens when one of them ends, and when all are to."""

from __future__ import annotations

import errno
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from typing_extensions import override

from memrepo_worker.local.stop_signals import StopSignals
from memrepo_worker.local.supervisor import LIVED_S, PAUSE_S_MAX, Supervisor
from memrepo_worker.local.worker_processes import WorkerProcesses
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Process, Processes
from memrepo_worker.settings import WorkerSettings
from tests.support.waiting import wait_for

_SERVES = "trap 'exit 0' TERM; while :; do sleep 0.02; done"
_DEAF = "trap '' TERM; while :; do sleep 0.02; done"


class Group:
    """A supervisor of shells, whose time passes by looking; ``scripts`` says what the n-th start of a number runs."""

    def __init__(self, count: int, script: Callable[[int, int], str], grace_s: float = 10_000.0) -> None:
        self.starts: dict[int, list[Process]] = {number: [] for number in range(1, count + 1)}
        self.started_at_s: dict[int, list[float]] = {number: [] for number in range(1, count + 1)}
        self.cannot: dict[tuple[int, int], OSError] = {}
        """What keeps the n-th try to start a number."""
        self.now_s = 0.0
        self._script = script
        self.supervisor = Supervisor(count, self._start, grace_s, clock=lambda: self.now_s, sleep=self._look)

    def run(self, until: Callable[[], bool], hurried: bool = False) -> int:
        return self.supervisor.run(until, lambda: hurried)

    def _start(self, number: int) -> Process:
        self.started_at_s[number].append(self.now_s)
        if (number, len(self.started_at_s[number]) - 1) in self.cannot:
            raise self.cannot[number, len(self.started_at_s[number]) - 1]
        script = self._script(number, len(self.starts[number]))
        process = Processes(Counters()).start(
            ["/bin/sh", "-c", script], env={"PATH": "/usr/bin:/bin"}, lifeline=True
        )
        self.starts[number].append(process)
        return process

    def _look(self, _seconds: float) -> None:
        """Let half a second pass, once every shell that is to end at once has done so."""
        for processes in self.starts.values():
            if processes and "exit 3" in str(processes[-1].args):
                processes[-1].wait(timeout=20)
        time.sleep(0.005)
        self.now_s += 0.5


def test_one_that_is_killed_is_started_again_and_the_others_go_on() -> None:
    group = Group(3, lambda _number, _start: _SERVES)

    def killed_and_back() -> bool:
        if group.now_s == LIVED_S + 1:
            group.starts[2][0].kill()
            group.starts[2][0].wait()
        return len(group.starts[2]) == 2

    assert group.run(killed_and_back) in (0, signal.SIGKILL)  # the new one may not have set its trap by now
    assert [len(group.starts[number]) for number in (1, 2, 3)] == [1, 2, 1]
    assert group.starts[1][0].returncode in (0, -signal.SIGTERM)


def test_what_keeps_each_from_starting_ends_the_whole_with_its_code() -> None:
    group = Group(2, lambda number, _start: "exit 3" if number == 1 else _SERVES)

    assert group.run(lambda: False) == 3
    assert all(process.poll() is not None for started in group.starts.values() for process in started)


def test_one_that_keeps_ending_is_started_after_pauses_that_grow() -> None:
    group = Group(2, lambda number, start: "exit 3" if number == 1 and start else _SERVES)

    def looked() -> bool:
        if group.now_s == LIVED_S + 1:
            group.starts[1][0].kill()
            group.starts[1][0].wait()
        return len(group.starts[1]) == 9

    group.run(looked)
    at = group.started_at_s[1]
    pauses = [after - before for before, after in pairwise(at[1:])]
    assert pauses == sorted(pauses)
    assert pauses[0] < 4
    assert pauses[-1] == pytest.approx(PAUSE_S_MAX, abs=1.5)
    assert len(group.starts[2]) == 1


def test_one_that_does_not_end_when_asked_is_killed_at_the_end_of_its_time() -> None:
    group = Group(2, lambda number, _start: _DEAF if number == 1 else _SERVES, grace_s=2.0)

    assert group.run(lambda: group.now_s > LIVED_S) == signal.SIGKILL
    assert group.starts[1][0].returncode == -signal.SIGKILL


def test_a_second_request_to_stop_is_passed_on() -> None:
    script = "trap '' TERM; trap 'exit 0' QUIT; while :; do sleep 0.02; done"
    group = Group(1, lambda _number, _start: script)

    def trapped() -> bool:
        return group.now_s > LIVED_S

    assert group.run(trapped, hurried=True) in (0, signal.SIGKILL)
    wait_for(lambda: group.starts[1][0].poll() is not None, "the process to have ended")


def test_one_that_cannot_be_started_again_just_now_is_started_later_and_the_others_go_on() -> None:
    group = Group(2, lambda _number, _start: _SERVES)
    group.cannot = {
        (1, 1): OSError(errno.EAGAIN, "Resource temporarily unavailable"),
        (1, 2): OSError(errno.ENOMEM, "x"),
    }

    def killed_and_back() -> bool:
        if group.now_s == LIVED_S + 1:
            group.starts[1][0].kill()
            group.starts[1][0].wait()
        return len(group.starts[1]) == 2

    group.run(killed_and_back)
    assert len(group.started_at_s[1]) == 4, "the first, two that failed, and one that did not"
    assert [len(group.starts[number]) for number in (1, 2)] == [2, 1]


def test_where_none_can_be_started_at_all_the_whole_ends_and_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    group = Group(2, lambda _number, _start: _SERVES)
    group.cannot = {(1, 0): OSError(errno.EAGAIN, "Resource temporarily unavailable")}

    assert group.run(lambda: False) == 1
    assert "process 1 cannot be started: Resource temporarily unavailable" in caplog.text


@dataclass(frozen=True)
class Shells(Processes):
    """Starts a shell in place of each worker; ``asked_for`` are the arguments that it would have had."""

    asked_for: list[Sequence[str]] = field(default_factory=list)

    @override
    def start(self, arguments: Sequence[str], **others: Any) -> Process:
        self.asked_for.append(arguments)
        return super().start(["/bin/sh", "-c", _SERVES], env={"PATH": "/usr/bin:/bin"}, lifeline=True)


class StopOnce(StopSignals):
    """Asks to stop once as many were started as are to be."""

    def __init__(self, shells: Shells, count: int) -> None:
        self.shells, self.wanted = shells, count

    @override
    def stopped(self) -> bool:
        return len(self.shells.asked_for) == self.wanted

    @override
    def hurried(self) -> bool:
        return False


@pytest.mark.parametrize(
    ("name", "names"),
    [("agents", ["agents-1", "agents-2"]), ("agents@pod-7", ["agents-1@pod-7", "agents-2@pod-7"])],
)
def test_each_worker_has_a_number_in_its_name_and_the_host_that_was_given(
    name: str, names: list[str]
) -> None:
    shells = Shells(Counters())
    settings = WorkerSettings(store_url="file:///nowhere", metrics_port=None)

    WorkerProcesses(settings, shells, name, [], {}).run(2, StopOnce(shells, 2))

    assert [asked[asked.index("--name") + 1] for asked in shells.asked_for] == names
