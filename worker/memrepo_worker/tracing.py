"""Spans of what a worker does, where the program has set OpenTelemetry's tracer provider (``memrepo.tracing.spans``).

Each group's turn is a span, below the first of its requests that is traced; the steps of the turn are below it, in
whichever thread they are made. Of each request there are two, below what its message says: how long it waited, and how
long it was worked on, with a link to the turn that it shared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING

from memrepo.clock import system_clock
from memrepo.tracing.context import context_of
from memrepo.tracing.spans import ERROR, HARMLESS, fail, tracer

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

BYTES, GROUP, LEFT_OUT = "memrepo.bytes", "memrepo.group", "memrepo.steps_left_out"

STEPS_MAX = 100
"""How many steps of one turn have spans; the turn says how many more there were."""

Attributes = Mapping[str, str | int]

_TURN: ContextVar[TurnTrace | None] = ContextVar("memrepo_traced_turn", default=None)
_NOTHING: AbstractContextManager[None] = nullcontext()


def step(name: str, attributes: Attributes | None = None) -> AbstractContextManager[Span | None]:
    """Mark a block as a step of the turn: a span of its own where the turn is traced, and nothing elsewhere."""
    turn = _TURN.get()
    return _NOTHING if turn is None else turn.step(name, attributes)


@contextmanager
def _step(tracer: Tracer, name: str, attributes: Attributes | None) -> Iterator[Span | None]:
    from opentelemetry.trace import use_span  # noqa: PLC0415 - loaded already, where there is a tracer

    span: Span | None = None
    with HARMLESS:
        span = tracer.start_span(name, attributes=dict(attributes or {}))
    if span is None:
        yield None
        return
    try:
        with use_span(span, record_exception=False, set_status_on_exception=False):
            yield span
    except BaseException as error:
        span.set_attribute(ERROR, type(error).__name__)  # no fault yet: a probe expects that nothing is there
        raise
    finally:
        with HARMLESS:
            span.end()


class TurnTrace:
    """The span of one group's turn, until its outcomes are known. Used by one thread at a time."""

    def __init__(self, tracer: Tracer, span: Span) -> None:
        from opentelemetry.trace import set_span_in_context  # noqa: PLC0415 - as above

        self._tracer = tracer
        self._span = span
        self._context = set_span_in_context(span)
        self._steps = 0

    @contextmanager
    def active(self) -> Iterator[None]:
        """Within the block, have steps be below it."""
        from opentelemetry.trace import use_span  # noqa: PLC0415 - as above

        token = _TURN.set(self if self._span.is_recording() else None)
        try:
            with use_span(self._span, record_exception=False, set_status_on_exception=False):
                yield
        finally:
            _TURN.reset(token)

    def step(self, name: str, attributes: Attributes | None) -> AbstractContextManager[Span | None]:
        """Return a block that is a step; from any thread that works for the turn."""
        self._steps += 1
        return _NOTHING if self._steps > STEPS_MAX else _step(self._tracer, name, attributes)

    def end(self) -> None:
        """Note that what is to be told is known; a second time it does nothing."""
        if self._span.is_recording():
            with HARMLESS:
                if self._steps > STEPS_MAX:
                    self._span.set_attribute(LEFT_OUT, self._steps - STEPS_MAX)
                self._span.end()

    def tell(
        self,
        task_name: str,
        headers: Mapping[str, str],
        attributes: Attributes,
        times_s: tuple[float, float],
        error: str | None,
    ) -> None:
        """Make the spans of a request that was answered just now.

        ``headers`` are what its message carried, ``times_s`` how long it waited, and then until it was answered.
        """
        with HARMLESS:
            self._tell(task_name, context_of(headers) or self._context, attributes, times_s, error)

    def _tell(
        self,
        task_name: str,
        parent: Context,
        attributes: Attributes,
        times_s: tuple[float, float],
        error: str | None,
    ) -> None:
        from opentelemetry.trace import Link, SpanKind  # noqa: PLC0415 - as above

        waited_s, worked_s = times_s
        answered_s = system_clock()
        began_s = answered_s - worked_s
        wait = self._tracer.start_span(
            f"wait {task_name}", parent, attributes=dict(attributes), start_time=_ns(began_s - waited_s)
        )
        wait.end(_ns(began_s))
        span = self._tracer.start_span(
            f"process {task_name}",
            parent,
            SpanKind.CONSUMER,
            dict(attributes),
            [Link(self._span.get_span_context())],
            _ns(began_s),
        )
        if error is not None:
            fail(span, error)
        span.end(_ns(answered_s))


def begin_turn(carried: Iterable[Mapping[str, str]], attributes: Attributes) -> TurnTrace | None:
    """Begin the span of a turn; ``carried`` is what each request's message said. None where nobody traces."""
    found = tracer()
    if found is None:
        return None
    with HARMLESS:
        return TurnTrace(found, found.start_span("turn", _parent(carried), attributes=dict(attributes)))
    return None


def _parent(carried: Iterable[Mapping[str, str]]) -> Context | None:
    """Return what the turn is below: the first request that is recorded, or the first that says anything.

    None would be whatever is current in this thread, so an empty context where none says anything.
    """
    from opentelemetry.context import Context  # noqa: PLC0415 - as above
    from opentelemetry.trace import get_current_span  # noqa: PLC0415 - as above

    found = [context for headers in carried if headers and (context := context_of(headers)) is not None]
    recorded = (one for one in found if get_current_span(one).get_span_context().trace_flags.sampled)
    return next(recorded, found[0] if found else Context())


def _ns(seconds: float) -> int:
    return int(seconds * 1_000_000_000)
