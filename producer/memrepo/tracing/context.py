"""Which span a message is of: said in its headers, as W3C's Trace Context does, and read as what may be anything."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

PARENT_HEADER = "traceparent"
STATE_HEADER = "tracestate"
STATE_CHARS_MAX = 512
"""What W3C asks everybody to carry of a trace's state; what is longer is dropped."""

_PARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_STATE_MEMBER = r"[a-z0-9][a-z0-9_*/@-]{0,255}=[ -+\--<>-~]{1,256}"
_STATE = re.compile(f"{_STATE_MEMBER}(?:,{_STATE_MEMBER}){{0,31}}")


def carried(headers: Mapping[str, object]) -> Mapping[str, str]:
    """Return what a message says of the span that it comes from, if that is what it should be; else nothing."""
    parent, state = headers.get(PARENT_HEADER), headers.get(STATE_HEADER)
    if not isinstance(parent, str) or not _PARENT.fullmatch(parent):
        return {}
    if not isinstance(state, str) or len(state) > STATE_CHARS_MAX or not _STATE.fullmatch(state):
        return {PARENT_HEADER: parent}
    return {PARENT_HEADER: parent, STATE_HEADER: state}


def context_of(headers: Mapping[str, str]) -> Context | None:
    """Return the context that was ``carried``; None where there is none. Only where there is a tracer."""
    from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415 - as the module says
        TraceContextTextMapPropagator,
    )

    return TraceContextTextMapPropagator().extract(dict(headers)) or None


def headers_of(span: Span) -> Mapping[str, str]:
    """Return what a message says of the span that it comes from."""
    from opentelemetry.trace import set_span_in_context  # noqa: PLC0415 - loaded, where there is a span
    from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415 - likewise
        TraceContextTextMapPropagator,
    )

    headers: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(headers, set_span_in_context(span))
    return carried(headers)
