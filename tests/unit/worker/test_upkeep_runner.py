"""What keeps memories quick runs beside the requests, one job at a time, and trouble in a job ends nothing but that."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from memrepo_worker.assembly import build_git
from memrepo_worker.git.command import GitTooSlowError, GitUnusableError
from memrepo_worker.group import Agent
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes, ProcessStoppedError
from memrepo_worker.service.machine import words_of_trouble
from memrepo_worker.upkeep.runner import TROUBLED_S_MAX, Job, Stop, UpkeepRunner
from tests.support.waiting import wait_for

TIMEOUT_S = 20
OURS, OTHER = Agent("org", "ours"), Agent("org", "other")


@pytest.fixture
def counters() -> Counters:
    return Counters()


@pytest.fixture
def runner(counters: Counters) -> Iterator[UpkeepRunner]:
    runner = UpkeepRunner(counters)
    yield runner
    runner.close()


def job(work: Callable[[Stop], None], agent: Agent = OURS, kind: str = "fold") -> Job:
    return Job(kind, agent, work)


def outcomes(counters: Counters) -> dict[str, int]:
    return {name: amount for name, amount in counters.snapshot().items() if name.startswith("upkeep.")}


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What a runner has told, whatever a thread that another test has left tells meanwhile."""
    return [record.getMessage() for record in caplog.records if record.name == UpkeepRunner.__module__]


def test_jobs_run_one_at_a_time_in_the_order_in_which_they_came(
    runner: UpkeepRunner, counters: Counters
) -> None:
    seen: list[int] = []
    alone = threading.Lock()

    def work(number: int) -> Callable[[Stop], None]:
        def run(_: Stop) -> None:
            assert alone.acquire(blocking=False)
            seen.append(number)
            alone.release()

        return run

    for number in range(50):
        assert runner.submit(job(work(number), Agent("org", f"agent-{number}")))

    assert runner.wait_until_idle(TIMEOUT_S)
    assert seen == list(range(50))
    assert outcomes(counters) == {"upkeep.fold.done": 50}


def test_of_jobs_of_one_kind_and_agent_one_waits_and_one_that_runs_is_followed_by_another(
    runner: UpkeepRunner, counters: Counters
) -> None:
    begun, go = threading.Event(), threading.Event()

    def wait(_: Stop) -> None:
        begun.set()
        assert go.wait(TIMEOUT_S)

    runner.submit(job(wait))
    assert begun.wait(TIMEOUT_S)
    for _ in range(5):
        assert runner.submit(job(lambda _: None))
    runner.submit(job(lambda _: None, kind="repack"))
    go.set()

    assert runner.wait_until_idle(TIMEOUT_S)
    assert outcomes(counters) == {"upkeep.fold.done": 2, "upkeep.repack.done": 1}


def test_a_job_that_fails_is_counted_and_the_next_one_runs(
    runner: UpkeepRunner, counters: Counters, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Stop) -> None:
        raise ValueError("content of a memory")

    runner.submit(job(fail))
    runner.submit(job(lambda _: None, OTHER))

    assert runner.wait_until_idle(TIMEOUT_S)
    assert outcomes(counters) == {"upkeep.fold.failed": 1, "upkeep.fold.done": 1}
    assert told(caplog) == ["fold of org/ours failed, and is tried again later: ValueError"]


def test_what_the_machine_lacks_is_told_once_with_what_to_do_and_when_it_is_over(
    counters: Counters, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Stop) -> None:
        raise GitUnusableError("git cannot be started: No such file or directory")

    runner = UpkeepRunner(counters, words_of_trouble=words_of_trouble)
    agents = [Agent("org", f"agent-{number}") for number in range(20)]
    for agent in agents:
        runner.submit(job(fail, agent))
    assert runner.wait_until_idle(TIMEOUT_S)
    runner.submit(job(lambda _: None, agents[7]))

    assert runner.wait_until_idle(TIMEOUT_S)
    runner.close()
    what = (
        "memories are not kept quick: git cannot be started: No such file or directory; the worker must be able to run "
        "git 2.39 or newer, found by PATH"
    )
    first, *between, last = told(caplog)
    assert first == f"{what}; fold of org/agent-0 failed, and is tried again later"
    assert last.startswith("over after ")
    assert last.endswith(what)
    assert [line for line in between if "s now)" not in line] == []  # so where a machine stood still for 30 s
    assert outcomes(counters) == {"upkeep.fold.failed": 20, "upkeep.fold.done": 1}


def fail_for_lack_of_room(_: Stop) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_trouble_is_not_over_when_a_job_is_done_that_had_never_met_it(
    counters: Counters, caplog: pytest.LogCaptureFixture
) -> None:
    """A small memory is folded where there is no room for a large one."""
    runner = UpkeepRunner(counters, words_of_trouble=words_of_trouble)
    for small, kind in ((OTHER, "fold"), (OURS, "repack")):
        runner.submit(job(fail_for_lack_of_room))
        runner.submit(job(lambda _: None, small, kind))

    assert runner.wait_until_idle(TIMEOUT_S)
    assert [line for line in told(caplog) if "over" in line] == []

    runner.submit(job(lambda _: None))

    assert runner.wait_until_idle(TIMEOUT_S)
    runner.close()
    assert told(caplog)[-1].startswith("over after ")


def test_trouble_of_an_agent_that_is_anothers_now_is_over_here(
    counters: Counters, caplog: pytest.LogCaptureFixture
) -> None:
    owned = {OURS, OTHER}
    runner = UpkeepRunner(counters, owned.__contains__, words_of_trouble=words_of_trouble)
    runner.submit(job(fail_for_lack_of_room))
    assert runner.wait_until_idle(TIMEOUT_S)

    owned.remove(OURS)
    runner.submit(job(lambda _: None, OTHER))

    assert runner.wait_until_idle(TIMEOUT_S)
    runner.close()
    assert told(caplog)[-1].startswith("over after ")


def test_trouble_of_an_agent_that_is_asked_for_no_job_any_more_is_over_an_hour_later(
    counters: Counters, caplog: pytest.LogCaptureFixture
) -> None:
    """A repack that has failed is asked for again only with another pack, and its agent may be idle from then on."""
    now_s = 0.0
    runner = UpkeepRunner(counters, words_of_trouble=words_of_trouble, clock=lambda: now_s)
    runner.submit(job(fail_for_lack_of_room))
    assert runner.wait_until_idle(TIMEOUT_S)

    now_s = TROUBLED_S_MAX - 1
    runner.submit(job(lambda _: None, OTHER))
    assert runner.wait_until_idle(TIMEOUT_S)
    assert [line for line in told(caplog) if "over" in line] == []

    now_s = TROUBLED_S_MAX
    runner.submit(job(lambda _: None, OTHER))

    assert runner.wait_until_idle(TIMEOUT_S)
    runner.close()
    assert told(caplog)[-1].startswith("over after 3600.0 s: ")


def test_that_git_was_not_over_in_time_is_no_trouble_of_the_machine() -> None:
    """A memory may be that large; and whoever reads of the machine would look at it in vain."""
    assert words_of_trouble(GitTooSlowError("git repack was not over in 1800 s")) is None
    assert words_of_trouble(GitUnusableError("git cannot be started")) is not None


def test_a_job_of_an_agent_that_is_anothers_now_ends_and_one_that_waits_never_begins(
    counters: Counters,
) -> None:
    owned = {OURS, OTHER}
    runner = UpkeepRunner(counters, owned.__contains__)
    begun = threading.Event()
    ran = threading.Event()

    def work(stop: Stop) -> None:
        begun.set()
        wait_for(lambda: stop.is_set, "the job is told to end")
        stop.check()

    runner.submit(job(work))
    runner.submit(job(lambda _: ran.set(), OTHER))
    assert begun.wait(TIMEOUT_S)
    owned.clear()

    assert runner.wait_until_idle(TIMEOUT_S)
    assert outcomes(counters) == {"upkeep.fold.stopped": 2}
    assert not ran.is_set()
    runner.close()


def test_closing_ends_the_job_that_runs_forgets_those_that_wait_and_takes_no_more(counters: Counters) -> None:
    runner = UpkeepRunner(counters)
    begun = threading.Event()

    def work(stop: Stop) -> None:
        begun.set()
        wait_for(lambda: stop.is_set, "the job is told to end")
        stop.check()

    runner.submit(job(work))
    runner.submit(job(lambda _: None, OTHER))
    assert begun.wait(TIMEOUT_S)
    runner.close(TIMEOUT_S)

    assert outcomes(counters) == {"upkeep.fold.stopped": 2}
    assert not runner.submit(job(lambda _: None))


def test_more_jobs_than_may_wait_are_refused_and_counted(counters: Counters) -> None:
    runner = UpkeepRunner(counters, jobs_max=2)
    begun, go = threading.Event(), threading.Event()

    def wait(_: Stop) -> None:
        begun.set()
        assert go.wait(TIMEOUT_S)

    runner.submit(job(wait))
    assert begun.wait(TIMEOUT_S)
    taken = [runner.submit(job(lambda _: None, Agent("org", f"agent-{number}"))) for number in range(4)]
    go.set()

    assert taken == [True, True, False, False]
    assert runner.wait_until_idle(TIMEOUT_S)
    assert outcomes(counters) == {"upkeep.fold.refused": 2, "upkeep.fold.done": 3}
    runner.close()


def test_a_process_that_nobody_wants_any_more_is_killed() -> None:
    processes = Processes(Counters(), is_stopped=lambda: True)

    with pytest.raises(ProcessStoppedError):
        processes.run(["sleep", "60"], env={"PATH": "/usr/bin:/bin"}, timeout_s=TIMEOUT_S)


def test_git_of_a_job_that_has_to_end_ends_as_trouble_of_the_machine() -> None:
    git = Stop(lambda: True).git(build_git(Counters()))

    with pytest.raises(GitUnusableError):
        git.run(["cat-file", "--batch"])


def test_processes_of_jobs_stand_back_behind_others() -> None:
    processes = Stop().git(build_git(Counters())).processes
    said = processes.run(
        ["sh", "-c", "read -r _; exec nice"],
        env={"PATH": "/usr/bin:/bin"},
        timeout_s=TIMEOUT_S,
        stdin=b"go\n",
    )

    assert int(said) == min(os.getpriority(os.PRIO_PROCESS, 0) + 10, 19)


def test_it_says_how_many_jobs_there_are_to_be_done(runner: UpkeepRunner, counters: Counters) -> None:
    begun, go = threading.Event(), threading.Event()

    def wait(_: Stop) -> None:
        begun.set()
        assert go.wait(TIMEOUT_S)

    for agent in (OURS, OTHER):
        runner.submit(job(wait, agent))
    assert begun.wait(TIMEOUT_S)
    assert counters.levels["upkeep.pending"] == 2

    go.set()

    assert runner.wait_until_idle(TIMEOUT_S)
    assert counters.levels["upkeep.pending"] == 0


def test_a_jobs_git_stands_behind_everything_else_and_so_has_more_time_than_a_requests() -> None:
    hurried = replace(build_git(Counters()), timeout_s=0.0)
    with pytest.raises(GitTooSlowError):
        hurried.run(["version"])

    assert Stop().git(hurried).run(["version"]).startswith(b"git version")


def test_where_it_cannot_be_told_who_owns_an_agent_its_job_ends_and_others_run(
    runner: UpkeepRunner, counters: Counters
) -> None:
    def owns(agent: Agent) -> bool:
        if agent == OTHER:
            raise RuntimeError
        return True

    runner.owns = owns
    assert runner.submit(job(lambda _: None, OTHER))
    assert runner.submit(job(lambda _: None))
    assert runner.wait_until_idle(TIMEOUT_S)
    assert outcomes(counters)["upkeep.fold.stopped"] == outcomes(counters)["upkeep.fold.done"] == 1
