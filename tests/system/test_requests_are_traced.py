"""A commit as OpenTelemetry shows it, from the agent loop to the store, beside Celery's integrations of others."""

from __future__ import annotations

import re
import sys
from collections import Counter
from dataclasses import dataclass

import pytest

from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes
from tests.support import traced_program
from tests.support.commands import MEMREPO
from tests.support.documents import ROOT
from tests.support.started import started
from tests.support.traced import Recorded, Span, Traced
from tests.support.traced_program import COMMITS, SECRETS, STEPS
from tests.support.valkey import valkey

OURS = re.compile(
    r"(enqueue|wait|process) memrepo\.(create_repo|commit|get_files)|turn|git (draft|pack|answer)|store (get|put|list)"
)


@dataclass(frozen=True)
class Told:
    """What a producer and a worker have told of the same requests."""

    producer: Traced
    worker: Traced
    recorded: Recorded
    steps: list[str]
    """The traces of Sentry's in which the loop made a commit each."""

    def of_commits(self, kind: str) -> list[Span]:
        return self.recorded.named(f"{kind} memrepo.commit")

    def of_commits_of_celery(self, kind: str) -> list[Span]:
        return self.recorded.named(f"{kind}/memrepo.commit")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    folder = tmp_path_factory.mktemp("traced")
    producer, worker = Traced.prepare(folder / "producer"), Traced.prepare(folder / "worker")
    log = folder / "memrepo.log"
    with valkey(folder) as broker:
        env = {
            "MEMREPO_BROKER_URL": broker.url,
            "MEMREPO_STORE_URL": (folder / "store").as_uri(),
            "MEMREPO_CACHE_DIR": str(folder / "cache"),
        }
        with started(
            [MEMREPO, "worker"],
            folder=folder,
            env={**env, **worker.env},
            ready=lambda: "ready: " in log.read_text(),
        ) as process:
            program = [sys.executable, "-m", traced_program.__name__]
            path = {"PYTHONPATH": f"{producer.folder}:{ROOT}"}
            said = Processes(Counters()).run(program, env={**env, **path}, timeout_s=60)
            process.terminate()
            assert process.wait(30) == 0
    return Told(producer, worker, Recorded(producer.spans() + worker.spans()), said.decode().split())


def test_every_request_is_told_from_the_loop_to_its_answer(told: Told) -> None:
    (loop,) = told.recorded.named("loop")
    for kind in ("enqueue", "wait", "process"):
        assert len(told.of_commits(kind)) == COMMITS
    for process in told.of_commits("process"):
        (enqueue,) = [span for span in told.recorded.above(process) if span.name == "enqueue memrepo.commit"]
        assert enqueue.attributes["memrepo.request_id"] == process.attributes["memrepo.request_id"]
        assert enqueue.parent_id == loop.id
        assert process.trace_id == loop.trace_id


def test_a_request_waits_and_is_then_worked_on(told: Told) -> None:
    waits = {span.attributes["memrepo.request_id"]: span for span in told.of_commits("wait")}
    for process in told.of_commits("process"):
        wait = waits[process.attributes["memrepo.request_id"]]
        assert wait.began <= wait.ended == process.began <= process.ended


def test_each_request_links_to_the_turn_that_it_shared(told: Told) -> None:
    turns = {span.id: span for span in told.recorded.named("turn")}
    processes = [span for span in told.recorded.all if span.name.startswith("process ")]
    shared = {turn: [span for span in processes if span.links == [turn]] for turn in turns}

    assert sum(map(len, shared.values())) == len(processes)
    for turn, requests in shared.items():
        assert turns[turn].attributes["memrepo.group"] == len(requests)
        assert all(turns[turn].ended <= request.ended for request in requests)


def test_a_turn_of_commits_has_git_and_one_put(told: Told) -> None:
    writes = [
        turn
        for turn in told.recorded.named("turn")
        if told.recorded.below(turn, lambda span: span.name == "git pack")
    ]
    assert writes
    for turn in writes:
        steps = told.recorded.below(turn)
        assert {"git draft", "git pack", "store put"} <= {step.name for step in steps}
        assert all(turn.began <= step.began <= step.ended <= turn.ended for step in steps)
        (put,) = [step for step in steps if step.name == "store put"]
        assert put.attributes["memrepo.bytes"] > 100


def test_a_request_that_is_refused_says_with_which_error(told: Told) -> None:
    assert [span.error for span in told.of_commits("process") if span.error] == ["HeadMovedError"]


def test_nothing_private_is_told(told: Told) -> None:
    ours = [span for span in told.recorded.all if OURS.fullmatch(span.name)]

    assert len(ours) > 3 * COMMITS
    shown = "".join(str(span.exported) for span in ours)
    assert not any(secret in shown for secret in SECRETS)
    assert ".md" not in shown


def test_opentelemetrys_integration_of_celery_works_beside_it(told: Told) -> None:
    sent, run = told.of_commits_of_celery("apply_async"), told.of_commits_of_celery("run")

    assert len(sent) == len(run) == COMMITS
    assert {span.trace_id for span in (*sent, *run)} == {told.recorded.named("loop")[0].trace_id}
    assert all(next(told.recorded.above(span)).name == "enqueue memrepo.commit" for span in sent)


def test_sentrys_integration_of_celery_works_beside_it(told: Told) -> None:
    heard = [one for one in told.worker.sentry() if one.get("transaction") == "memrepo.commit"]

    assert Counter(one["contexts"]["trace"]["status"] for one in heard) == {
        "ok": COMMITS - 1,
        "internal_error": 1,  # and no issue: what a caller is told is no fault
    }
    assert all(one["type"] == "transaction" for one in heard)
    traces = [one["contexts"]["trace"]["trace_id"] for one in heard]
    assert len(set(told.steps)) == STEPS
    assert [traces.count(step) for step in told.steps] == [1] * STEPS
