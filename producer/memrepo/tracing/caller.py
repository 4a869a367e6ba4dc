"""The context in which a request was asked for, for what follows a trace from there into its message."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context, copy_context


class CallersContext:
    """The context variables of who calls, kept until the request is sent.

    Requests are sent by a thread of ours. Integrations of Celery (Sentry's, OpenTelemetry's, …) look there for the span
    that the caller is in, and would find the one in which that thread was begun: another request's.
    """

    def __init__(self) -> None:
        self._context: Context | None = copy_context()

    def run(self, send: Callable[[], object]) -> None:
        """Call ``send`` in the context, or as it is once it was forgotten; by one thread at a time."""
        context = self._context
        if context is None:
            send()
        else:
            context.run(send)

    def forget(self, _: object = None) -> None:
        """Let go of what the caller had there, which may be large."""
        self._context = None
