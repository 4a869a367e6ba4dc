"""Many writers edit one file at once while their worker is killed again and again: no line is lost, none doubled."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from memrepo import ContentMovedError, HeadMovedError, MemoryRepo, MemoryRepos, append, replace
from memrepo.settings import environment
from tests.support.systems import running_worker
from tests.support.valkey import valkey

LONG = environment().get("LONG") == "1"
WRITERS = 20
EACH = 200 if LONG else 12
COUNTED_BY_EACH = 200 if LONG else 3
KILLS = 12 if LONG else 3
ENV = {"MEMREPO_LEASE_S": "1"}
WAIT_S = 300

pytestmark = pytest.mark.timeout(0 if LONG else 240)


@dataclass
class Shared:
    """One memory, and its clients' word that a commit was acknowledged."""

    repo: MemoryRepo
    acknowledged: threading.Semaphore


@contextmanager
def memory_whose_workers_are_killed(folder: Path, commits: int) -> Iterator[Shared]:
    """Give a memory whose worker is killed, while others write, whenever another part of the commits is done."""
    over = threading.Event()
    acknowledged = threading.Semaphore(0)
    with valkey(folder / "valkey") as server:
        url = f"file://{folder / 'store'}"

        def serve() -> None:
            for number in range(KILLS):
                with running_worker(folder / f"worker-{number}", server, url, env=ENV):
                    for _ in range(commits // (KILLS + 1)):
                        acknowledged.acquire(timeout=WAIT_S)
            with running_worker(folder / "last", server, url, env=ENV):
                over.wait()

        with ThreadPoolExecutor(1) as serving, MemoryRepos(broker_url=server.database(0)) as repos:
            served = serving.submit(serve)
            try:
                yield Shared(repos.repo(org_id="acme", agent_id="shared"), acknowledged)
            finally:
                over.set()
                for _ in range(commits):
                    acknowledged.release()
            served.result()


def test_every_line_that_was_appended_is_there_once_and_each_writers_in_order(tmp_path: Path) -> None:
    def write(shared: Shared, writer: int) -> None:
        for number in range(EACH):
            line = append("log", f"{writer} {number}\n")
            shared.repo.commit([line], "log").result(timeout_s=WAIT_S)
            shared.acknowledged.release()

    commits = WRITERS * EACH
    with memory_whose_workers_are_killed(tmp_path, commits) as shared, ThreadPoolExecutor(WRITERS) as writers:
        shared.repo.create_repo().result(timeout_s=WAIT_S)
        for written in [writers.submit(write, shared, writer) for writer in range(WRITERS)]:
            written.result()
        lines = shared.repo.get_file("log").result(timeout_s=WAIT_S).text.splitlines()

    found = [(int(writer), int(number)) for writer, _, number in (line.partition(" ") for line in lines)]
    for writer in range(WRITERS):
        assert [number for who, number in found if who == writer] == list(range(EACH))
    assert len(found) == commits


def test_a_counter_that_is_replaced_under_a_precondition_counts_every_step_once(tmp_path: Path) -> None:
    def count(shared: Shared) -> int:
        """Count on, as often as this writer must; return how often it had to try."""
        tried = 0
        for _ in range(COUNTED_BY_EACH):
            while True:
                tried += 1
                there = shared.repo.get_file("counter").result(timeout_s=WAIT_S)
                step = replace("counter", there.text, f"{int(there.text) + 1}", expected_sha256=there.sha256)
                try:
                    shared.repo.commit([step], "count").result(timeout_s=WAIT_S)
                except ContentMovedError:
                    continue
                shared.acknowledged.release()
                break
        return tried

    steps = WRITERS * COUNTED_BY_EACH
    with memory_whose_workers_are_killed(tmp_path, steps) as shared, ThreadPoolExecutor(WRITERS) as writers:
        shared.repo.create_repo({"counter": "0"}).result(timeout_s=WAIT_S)
        counting = [writers.submit(count, shared) for _ in range(WRITERS)]
        tries = sum(counted.result() for counted in counting)
        counter = shared.repo.get_file("counter").result(timeout_s=WAIT_S).text

    print(
        f"\n{steps} steps by {WRITERS} writers took {tries} tries: {1 - steps / tries:.0%} were tried again"
    )
    assert int(counter) == steps


def test_writers_of_different_files_lose_nothing_to_each_other_where_their_commits_are_rebased(
    tmp_path: Path,
) -> None:
    def write(shared: Shared, writer: int) -> tuple[int, int]:
        """Write this writer's file, each time from a head; return how often it tried, and was rebased."""
        tried = rebased = 0
        for number in range(EACH):
            while True:
                tried += 1
                head = shared.repo.get_head_sha().result(timeout_s=WAIT_S)
                line = append(f"log-{writer}", f"{number}\n")
                asked = shared.repo.commit([line], "log", expected_head=head, on_conflict="rebase")
                try:
                    made = asked.result(timeout_s=WAIT_S)
                except HeadMovedError:
                    continue
                rebased += made.rebased_from is not None
                shared.acknowledged.release()
                break
        return tried, rebased

    commits = WRITERS * EACH
    with memory_whose_workers_are_killed(tmp_path, commits) as shared, ThreadPoolExecutor(WRITERS) as writers:
        shared.repo.create_repo().result(timeout_s=WAIT_S)
        writing = [writers.submit(write, shared, writer) for writer in range(WRITERS)]
        told = [written.result() for written in writing]
        files = shared.repo.get_files().result(timeout_s=WAIT_S)

    tries, rebased = (sum(counts) for counts in zip(*told, strict=True))
    print(
        f"\n{commits} commits by {WRITERS} writers: {rebased / commits:.0%} went onto a later head, "
        f"{1 - commits / tries:.0%} were tried again"
    )
    for writer in range(WRITERS):
        assert files[f"log-{writer}"].text.split() == [str(number) for number in range(EACH)]
