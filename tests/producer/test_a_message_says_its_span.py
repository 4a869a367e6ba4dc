"""What a message says of the span that it comes from, and in whose context it is sent."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextvars import ContextVar, copy_context
from typing import Any

import pytest
from celery import signals
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from memrepo import MemoryRepo
from tests.producer.stand_in import StandIn
from tests.support.waiting import wait_for

CALLER: ContextVar[Any] = ContextVar("caller", default=None)


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield exporter
    provider.shutdown()


def test_a_message_says_its_span_in_its_headers_and_nothing_in_its_request(
    worker: StandIn, repo: MemoryRepo, exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.commit({"a": "1"}, "m", request_id="request-1")
    [traced] = worker.wait_taken(1)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    repo.commit({"a": "1"}, "m", request_id="request-2")
    _, untraced = worker.wait_taken(2)

    (span,) = exporter.get_finished_spans()
    assert traced.headers["traceparent"].split("-")[2] == f"{(span.context and span.context.span_id):016x}"
    assert set(traced.headers) - set(untraced.headers) == {"traceparent"}
    own = {"request_id", "enqueued_at"}
    assert {name: value for name, value in traced.request.items() if name not in own} == {
        name: value for name, value in untraced.request.items() if name not in own
    }
    assert dict(span.attributes or {}) == {
        "memrepo.operation": "commit",
        "memrepo.org_id": "acme",
        "memrepo.agent_id": "agent-1",
        "memrepo.request_id": "request-1",
        "messaging.message.id": traced.id,
        "messaging.destination.name": traced.queue,
    }


def test_each_request_is_sent_in_the_context_of_its_caller(worker: StandIn, repo: MemoryRepo) -> None:
    found: list[object] = []

    def listener(**_: object) -> None:
        found.append(CALLER.get())

    def call(number: int) -> None:
        CALLER.set(number)
        repo.get_head_sha()

    signals.before_task_publish.connect(listener, weak=False)
    try:
        for number in range(20):
            copy_context().run(call, number)
        worker.wait_taken(20)
    finally:
        signals.before_task_publish.disconnect(listener)

    assert found == list(range(20))


def test_what_a_caller_had_there_is_let_go_of_once_its_request_is_sent(
    worker: StandIn, repo: MemoryRepo
) -> None:
    class Large:
        pass

    def call() -> weakref.ref[Large]:
        large = Large()
        CALLER.set(large)
        jobs.append(repo.get_head_sha())
        return weakref.ref(large)

    jobs: list[object] = []
    large = copy_context().run(call)
    worker.wait_taken(1)

    wait_for(lambda: large() is None, "what the caller had to be let go of")
    assert jobs
