"""Spans of OpenTelemetry: where the program has set a tracer provider, and at no cost where it has not.

Nothing of OpenTelemetry is imported here before a provider is found, and it is looked for among the modules that are
loaded: whoever sets one has loaded it. A message says in its headers which span it is of, as W3C's Trace Context does;
what others say there is read as what may be anything. Spans tell whose request it was, of which operation, how large,
how long and how it ended: never contents, paths or messages.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import TYPE_CHECKING

from memrepo.tracing.context import headers_of

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer, TracerProvider

ORG, AGENT, REQUEST_ID = "memrepo.org_id", "memrepo.agent_id", "memrepo.request_id"
OPERATION, ERROR = "memrepo.operation", "error.type"
JOB_ID, QUEUE = "messaging.message.id", "messaging.destination.name"

log = logging.getLogger(__name__)

_tracers: dict[int, tuple[TracerProvider, Tracer]] = {}


def tracer() -> Tracer | None:
    """Return the tracer of the provider that this program has set; None where it set none."""
    api = sys.modules.get("opentelemetry.trace")
    if api is None or not hasattr(api, "use_span"):  # nobody has loaded it, or somebody is about to
        return None
    provider: TracerProvider = api.get_tracer_provider()
    if isinstance(provider, api.ProxyTracerProvider):
        return None
    found = _tracers.get(id(provider))
    if found is None:
        _tracers.clear()
        _tracers[id(provider)] = found = (provider, provider.get_tracer("memrepo"))
    return found[1]


class Harmless:
    """A block that keeps from others what a program's samplers, processors and exporters of spans raise."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> bool:
        if kind is None or not isinstance(error, Exception):
            return False
        log.debug("a span was not made: %s", kind.__name__)
        return True


HARMLESS = Harmless()


class SendTrace:
    """The span of a request that is on its way to its queue; ``headers`` are what its message says of it."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self.headers = headers_of(span)

    def current(self) -> AbstractContextManager[object]:
        """Within the block, have it be what further spans are below: that of an integration of Celery, say."""
        from opentelemetry.trace import use_span  # noqa: PLC0415 - as the module says

        return use_span(self._span, record_exception=False, set_status_on_exception=False)

    def end(self, sent: Future[None]) -> None:
        """Note that the broker holds it, or what became of it instead."""
        error = None if sent.cancelled() else sent.exception()
        with HARMLESS:
            if error is not None:
                fail(self._span, type(error).__name__)
            self._span.end()


def fail(span: Span, error: str) -> None:
    """Say of a span that it ended with an error of this class."""
    from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415 - as the module says

    span.set_attribute(ERROR, error)
    span.set_status(Status(StatusCode.ERROR, error))


def begin_send(task_name: str, attributes: Mapping[str, str]) -> SendTrace | None:
    """Begin the span of a request that is sent, below the caller's own; None where nobody traces."""
    found = tracer()
    if found is None:
        return None
    from opentelemetry.trace import SpanKind  # noqa: PLC0415 - as the module says

    with HARMLESS:
        return SendTrace(
            found.start_span(f"enqueue {task_name}", kind=SpanKind.PRODUCER, attributes=dict(attributes))
        )
    return None


def current(trace: SendTrace | None) -> AbstractContextManager[object]:
    """Return its ``current``; of None a block like any other."""
    return nullcontext() if trace is None else trace.current()
