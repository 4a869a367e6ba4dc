"""Spans of a producer: made where a provider is set, and what a message says of them, and may say."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import Future

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from memrepo.errors import BrokerUnavailableError
from memrepo.tracing.context import carried, context_of
from memrepo.tracing.spans import SendTrace, begin_send, current, tracer
from tests.support.jobs import present

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = {"traceparent": PARENT, "tracestate": "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"}


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> TracerProvider:
    """The provider that this program has set."""
    provider = TracerProvider()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    return provider


@pytest.fixture
def spans(provider: TracerProvider) -> Iterator[InMemorySpanExporter]:
    """What it has recorded."""
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield exporter
    provider.shutdown()


def sent(error: Exception | None = None) -> Future[None]:
    future: Future[None] = Future()
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
    return future


def begun() -> SendTrace:
    found = begin_send("memrepo.commit", {"memrepo.org_id": "acme"})
    assert found is not None
    return found


def test_where_no_provider_is_set_nobody_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracer() is None
    assert begin_send("memrepo.commit", {}) is None
    with current(None):
        pass

    monkeypatch.delitem(sys.modules, "opentelemetry.trace")
    assert tracer() is None


def test_a_request_that_is_sent_is_a_span_below_the_callers(spans: InMemorySpanExporter) -> None:
    with trace.get_tracer("loop").start_as_current_span("loop"):
        sending = begun()
    sending.end(sent())

    loop, span = spans.get_finished_spans()
    assert (span.name, span.kind.name) == ("enqueue memrepo.commit", "PRODUCER")
    assert span.parent == loop.get_span_context()
    assert dict(span.attributes or {}) == {"memrepo.org_id": "acme"}
    assert span.status.is_unset
    own = present(span.get_span_context())
    assert (
        sending.headers["traceparent"] == f"00-{own.trace_id:032x}-{own.span_id:016x}-{own.trace_flags:02x}"
    )


def test_one_that_was_not_sent_says_the_class_of_the_error_alone(spans: InMemorySpanExporter) -> None:
    begun().end(sent(BrokerUnavailableError("SECRET-CONTENT")))
    cancelled: Future[None] = Future()
    cancelled.cancel()
    begun().end(cancelled)

    failed, given_up = spans.get_finished_spans()
    assert (failed.status.status_code.name, failed.status.description) == ("ERROR", "BrokerUnavailableError")
    assert (failed.attributes or {})["error.type"] == "BrokerUnavailableError"
    assert "SECRET" not in failed.to_json()
    assert given_up.status.is_unset


def test_what_others_make_while_it_is_sent_is_below_it(spans: InMemorySpanExporter) -> None:
    sending = begun()
    with current(sending):
        trace.get_tracer("celery").start_span("apply_async/memrepo.commit").end()
    assert not trace.get_current_span().get_span_context().is_valid
    sending.end(sent())

    made, span = spans.get_finished_spans()
    assert made.parent == span.get_span_context()


def test_a_trace_that_is_not_recorded_goes_on_unrecorded(spans: InMemorySpanExporter) -> None:
    unsampled = {"traceparent": f"{PARENT[:-1]}0"}
    with trace.use_span(trace.get_current_span(context_of(unsampled))):
        sending = begun()
    sending.end(sent())

    assert spans.get_finished_spans() == ()
    assert sending.headers["traceparent"].startswith(PARENT[:35])
    assert sending.headers["traceparent"].endswith("-00")


@pytest.mark.parametrize("begins", [True, False])
def test_a_processor_that_raises_is_nobodys_trouble(provider: TracerProvider, begins: bool) -> None:
    class Broken(SpanProcessor):
        def on_start(self, span: object, parent_context: object = None) -> None:
            if begins:
                raise ZeroDivisionError

        def on_end(self, span: ReadableSpan) -> None:
            raise ZeroDivisionError

    provider.add_span_processor(Broken())
    sending = begin_send("memrepo.commit", {})
    assert (sending is None) == begins
    if sending is not None:
        sending.end(sent())


def test_what_a_message_says_of_its_span_is_carried_as_it_is() -> None:
    assert carried({**OTHER, "other": 1}) == OTHER
    assert carried({"traceparent": PARENT}) == {"traceparent": PARENT}
    assert carried({"tracestate": OTHER["tracestate"]}) == {}
    span = trace.get_current_span(context_of(OTHER)).get_span_context()
    assert (span.span_id, span.trace_state.get("rojo")) == (0xB7AD6B7169203331, "00f067aa0ba902b7")


@pytest.mark.parametrize(
    "parent",
    [None, 7, b"00", ["x"], "", "x" * 1_000_000, PARENT * 2, f"{PARENT}\n", f" {PARENT}", PARENT.upper()],
    ids=lambda parent: repr(parent)[:20],
)
def test_a_span_that_is_none_is_passed_over(parent: object) -> None:
    assert carried({"traceparent": parent, "tracestate": OTHER["tracestate"]}) == {}


@pytest.mark.parametrize(
    "state",
    [7, "", "no pair", "a=1," * 40 + "a=1", "k=" + "v" * 600, "k=\n", "k=é", "k=1,", "K=1", "k=1;SECRET\x1b"],
    ids=lambda state: repr(state)[:20],
)
def test_a_state_that_is_none_or_too_long_is_dropped(state: object, caplog: pytest.LogCaptureFixture) -> None:
    found = carried({"traceparent": PARENT, "tracestate": state})

    assert found == {"traceparent": PARENT}
    assert context_of(found) is not None
    assert caplog.text == ""


def test_of_what_is_carried_the_library_has_nothing_to_say(caplog: pytest.LogCaptureFixture) -> None:
    odd = carried({"traceparent": f"ff{PARENT[2:]}", "tracestate": "a=1,a=2"})
    zero = carried({"traceparent": "00-" + "0" * 32 + "-" + "0" * 16 + "-01"})

    assert context_of(odd) is None
    assert context_of(zero) is None
    assert caplog.text == ""
