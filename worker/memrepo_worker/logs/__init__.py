"""What a worker writes to its log: one line per record, as text or as JSON, with nothing in it that steers a terminal.

A line of ours says what happened in words and, in JSON, as fields too: ``log`` takes both. Foreign text (an id out of a
message, what a server answered) may stand in a line: the one formatter escapes control characters and line breaks. An
exception's own text may hold content or paths of memories, so a line names its class and where it was raised alone, and
a traceback is shown at level DEBUG only, without those texts.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any, Literal, TextIO

Format = Literal["text", "json"]

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
FORMATS: tuple[Format, ...] = ("text", "json")
REQUESTS_LOGGER = "memrepo_worker.requests"
"""One line per request; off unless it is asked for."""

_OURS = ("memrepo", "memrepo_worker")
_FRAMEWORK = ("celery", "kombu")
_NEVER_VERBOSE = ("celery.app.trace", "celery.pool", "celery.utils.functional")
"""Loggers of the framework whose lines below WARNING hold results, arguments, or source code: never shown."""
_TOLD_BY_US = ("celery.worker.consumer.consumer",)
"""Loggers of the framework whose warnings repeat what our own lines say."""

_FRAMES_MAX = 4
# Control characters, line and paragraph separators, what turns the direction of text, and halves of characters.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


@dataclass(frozen=True, slots=True)
class LogOptions:
    """How much a worker tells, and in which form; ``requests`` asks for one line per request at any level."""

    level: str = "INFO"
    format: Format = "text"
    requests: bool = False

    @property
    def tells_requests(self) -> bool:
        """Whether there is a line for each request."""
        return self.requests or self.level == "DEBUG"


def configure(options: LogOptions, stream: TextIO | None = None) -> None:
    """Have this process write its log to ``stream``, standard error by default; what was set up before is replaced.

    Libraries are heard from WARNING on; Celery and kombu tell everything at level DEBUG.
    """
    level = logging.getLevelNamesMapping()[options.level]
    verbose = level <= logging.DEBUG
    handler = _Handler(stream or sys.stderr)
    handler.setFormatter(LineFormatter(options.format, tracebacks=verbose))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(level, logging.WARNING))
    for name in _OURS:
        logging.getLogger(name).setLevel(level)
    for name in _FRAMEWORK:
        logging.getLogger(name).setLevel(level if verbose else logging.NOTSET)
    for name in _TOLD_BY_US:
        logging.getLogger(name).setLevel(level if verbose else logging.ERROR)
    for name in _NEVER_VERBOSE:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger(REQUESTS_LOGGER).setLevel(logging.INFO if options.tells_requests else logging.WARNING)
    logging.captureWarnings(capture=True)


def log(
    logger: logging.Logger,
    level: int,
    event: str,
    message: str,
    fields: Mapping[str, object] | None = None,
    cause: BaseException | None = None,
) -> None:
    """Write one line: ``message`` for people; ``event``, a stable name, and ``fields``, JSON values, for programs.

    ``cause`` adds its class and where it was raised, and at level DEBUG the traceback.
    """
    logger.log(level, "%s", message, extra={"event": event, "fields": fields or {}}, exc_info=cause)


def escaped(text: str) -> str:
    """Return text on one line, with everything that is not printable written as an escape."""
    return _UNPRINTABLE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape", "surrogatepass").decode()


def where(error: BaseException) -> str:
    """Return the places that an error came through, the innermost first: ``turn.py:88 < mailbox.py:12``."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES_MAX:]
    return " < ".join(f"{PurePath(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))


def cause_of(error: BaseException) -> str:
    """Say where an error came from without what it says: a message may hold a path or content."""
    return f"{type(error).__name__} at {where(error)}"


class LineFormatter(logging.Formatter):
    """Makes one line of a record; a traceback, in text, goes on in indented lines."""

    def __init__(self, form: Format, *, tracebacks: bool) -> None:
        super().__init__()
        self._form = form
        self._tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as it is written."""
        error = record.exc_info[1] if record.exc_info else None
        trace = [*_trace_of(error)] if error is not None and self._tracebacks else []
        values = _values_of(record, error)
        if self._form == "json":
            return json.dumps(values | ({"traceback": trace} if trace else {}), default=str)
        line = f"{values['time']} {values['level']:<8} {record.name}: {values['message']}"
        if error is not None:
            line += f" ({cause_of(error)})"
        return "\n    ".join(escaped(part) for part in (line, *trace))


def _values_of(record: logging.LogRecord, error: BaseException | None) -> dict[str, Any]:
    fields: Mapping[str, Any] = getattr(record, "fields", {})
    values: dict[str, Any] = {
        "time": _time_of(record.created),
        "level": record.levelname,
        "logger": record.name,
        "event": getattr(record, "event", None),
        "message": _message_of(record),
    }
    if error is not None:
        values |= {"error": type(error).__name__, "where": where(error)}
    return values | {name: value for name, value in fields.items() if name not in values}


def _time_of(created_s: float) -> str:
    return datetime.fromtimestamp(created_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _message_of(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, LookupError):  # a library's fault: its line is worth more than a traceback
        return str(record.msg)


def _trace_of(error: BaseException) -> Iterator[str]:
    """Yield the lines of a traceback and of those that led to it, the first cause first; no error's text is in it."""
    chain = [error]
    while (earlier := _led_to(chain[-1])) is not None and earlier not in chain:
        chain.append(earlier)
    for one in reversed(chain):
        for frame in traceback.extract_tb(one.__traceback__):
            yield f"{PurePath(frame.filename).name}:{frame.lineno} in {frame.name}: {frame.line}"
        yield type(one).__qualname__


def _led_to(error: BaseException) -> BaseException | None:
    if error.__cause__ is not None or error.__suppress_context__:
        return error.__cause__
    return error.__context__


class _Handler(logging.StreamHandler[TextIO]):
    """Writes to a stream; a line that cannot be written (a full disk, a closed pipe) is dropped without a word."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Do nothing: there is nowhere to tell it, and nothing of a worker's work depends on it."""
