"""Spans of a worker: a group's turn, the steps below it, and those of its requests, which link to it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextvars import copy_context

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from memrepo_worker.testing import inline_worker
from memrepo_worker.tracing import STEPS_MAX, TurnTrace, begin_turn, step

TRACE = "0af7651916cd43dd8448eb211c80319c"
RECORDED = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
UNRECORDED = {"traceparent": f"00-{TRACE}-b7ad6b7169203332-00"}


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield exporter
    provider.shutdown()


def begun(*carried: dict[str, str]) -> TurnTrace:
    found = begin_turn(carried, {"memrepo.group": len(carried)})
    assert found is not None
    return found


def named(exporter: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in exporter.get_finished_spans() if span.name == name]


def test_where_no_provider_is_set_a_step_is_a_block_like_any_other() -> None:
    assert begin_turn([RECORDED], {}) is None
    with step("store get") as span:
        assert span is None


def test_steps_are_below_the_turn_in_whichever_thread_they_are_made(exporter: InMemorySpanExporter) -> None:
    turn = begun(RECORDED)
    with turn.active():
        with step("store put", {"memrepo.bytes": 7}):
            trace.get_tracer("sdk").start_span("PutObject").end()
        context = copy_context()  # as fetchers do
    with step("store list"):  # of no turn
        pass
    thread = threading.Thread(target=context.run, args=(get,))
    thread.start()
    thread.join()
    turn.end()
    turn.end()

    made, put, got, span = exporter.get_finished_spans()
    assert [made.name, put.name, got.name, span.name] == ["PutObject", "store put", "store get", "turn"]
    assert got.parent == span.get_span_context()
    assert made.parent == put.get_span_context()
    assert put.parent == span.get_span_context()
    assert dict(put.attributes or {}) == {"memrepo.bytes": 7}


def get() -> None:
    with step("store get"):
        pass


def test_a_step_that_fails_says_its_class_and_nothing_of_what_it_was_told(
    exporter: InMemorySpanExporter,
) -> None:
    turn = begun(RECORDED)
    with turn.active(), pytest.raises(FileNotFoundError), step("store get"):
        raise FileNotFoundError("SECRET-PATH")

    (span,) = exporter.get_finished_spans()
    assert dict(span.attributes or {}) == {"error.type": "FileNotFoundError"}
    assert span.events == ()
    assert "SECRET" not in span.to_json()


def test_a_turn_of_many_steps_tells_how_many_it_leaves_out(exporter: InMemorySpanExporter) -> None:
    turn = begun(RECORDED)
    with turn.active():
        for _ in range(STEPS_MAX + 5):
            with step("store get"):
                pass
    turn.end()

    assert len(named(exporter, "store get")) == STEPS_MAX
    (span,) = named(exporter, "turn")
    assert (span.attributes or {})["memrepo.steps_left_out"] == 5


@pytest.mark.parametrize(
    ("carried", "trace_id"),
    [([{}, UNRECORDED, RECORDED], TRACE), ([{}, RECORDED], TRACE), ([{}, {}], None)],
    ids=["one is not recorded", "one says nothing", "none says anything"],
)
def test_a_turn_is_below_the_first_request_that_is_recorded(
    carried: list[dict[str, str]], trace_id: str | None, exporter: InMemorySpanExporter
) -> None:
    with trace.get_tracer("other").start_as_current_span("of the thread"):
        begun(*carried).end()

    (span,) = named(exporter, "turn")
    assert (None if span.parent is None else f"{span.parent.trace_id:032x}") == trace_id


def test_a_turn_of_requests_that_are_not_recorded_costs_no_steps(exporter: InMemorySpanExporter) -> None:
    turn = begun(UNRECORDED)
    with turn.active(), step("store put") as span:
        assert span is None
    turn.tell("memrepo.commit", UNRECORDED, {}, (1.0, 1.0), None)
    turn.end()

    assert exporter.get_finished_spans() == ()


def test_a_request_is_told_by_how_long_it_waited_and_was_worked_on(exporter: InMemorySpanExporter) -> None:
    turn = begun(RECORDED, {})
    turn.end()
    turn.tell("memrepo.commit", RECORDED, {"memrepo.operation": "commit"}, (3.0, 0.5), None)
    turn.tell("memrepo.restore", {}, {}, (1.0, 0.5), "RefNotFoundError")

    span, wait, process, other_wait, other = exporter.get_finished_spans()
    assert [one.name for one in (wait, process)] == ["wait memrepo.commit", "process memrepo.commit"]
    assert seconds(wait) == pytest.approx(3.0)
    assert seconds(process) == pytest.approx(0.5)
    assert wait.end_time == process.start_time
    assert {one.parent and one.parent.span_id for one in (wait, process)} == {0xB7AD6B7169203331}
    assert [one.parent for one in (other_wait, other)] == [span.get_span_context()] * 2
    assert [link.context for one in (process, other) for link in one.links] == [span.get_span_context()] * 2
    assert (other.status.status_code.name, other.status.description) == ("ERROR", "RefNotFoundError")


def seconds(span: ReadableSpan) -> float:
    return ((span.end_time or 0) - (span.start_time or 0)) / 1e9


def test_a_real_turn_has_its_steps_and_says_nothing_private(exporter: InMemorySpanExporter) -> None:
    with inline_worker() as worker, worker.repos() as repos:
        memory = repos.repo(org_id="acme", agent_id="agent-1")
        memory.create_repo().result(timeout_s=10)
        exporter.clear()
        memory.commit({"secret/path.md": "SECRET-CONTENT"}, "SECRET-MESSAGE").result(timeout_s=10)
        commit = exporter.get_finished_spans()
        exporter.clear()
        memory.get_history(path="secret/path.md").result(timeout_s=10)
        read = exporter.get_finished_spans()

    names = [span.name for span in commit]
    assert names[-5:] == ["git draft", "git pack", "store put", "git answer", "turn"]
    assert set(names[:-5]) <= {"store list"}  # whether it is current, without a lease
    turn = commit[-1]
    assert all(span.parent == turn.get_span_context() for span in commit[:-1])
    assert sum(map(seconds, commit[:-1])) <= seconds(turn)
    assert dict(turn.attributes or {}) == {
        "memrepo.org_id": "acme",
        "memrepo.agent_id": "agent-1",
        "memrepo.group": 1,
    }
    assert read[-1].name == "turn"
    told = "".join(span.to_json() for span in (*commit, *read))
    assert "secret" not in told.lower()
