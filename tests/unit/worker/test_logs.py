from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from memrepo_worker.logs import REQUESTS_LOGGER, Format, LogOptions, configure, log

logger = logging.getLogger("memrepo_worker.test")

HOSTILE = "a\nWARNING forged\r\x1b[31mred\x07\x85\u2028\u202ereversed\ud800"
ESCAPED = r"a\nWARNING forged\r\x1b[31mred\x07\x85\u2028\u202ereversed\ud800"

Written = Callable[..., list[str]]


@pytest.fixture
def written() -> Iterator[Written]:
    """Set the log up and return its lines so far; afterwards everything is as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    stream = io.StringIO()

    def lines(level: str = "INFO", form: Format = "text", *, requests: bool = False) -> list[str]:
        if not isinstance(getattr(root.handlers[0], "stream", None), io.StringIO):
            configure(LogOptions(level, form, requests), stream)
        return stream.getvalue().splitlines()

    yield lines
    root.handlers, root.level = handlers, level
    logging.captureWarnings(False)
    for name in ("memrepo", "memrepo_worker", "celery", "kombu", REQUESTS_LOGGER):
        logging.getLogger(name).setLevel(logging.NOTSET)


def fail() -> None:
    try:
        raise OSError("SECRET-CONTENT")
    except OSError as error:
        raise ValueError("SECRET-PATH\nforged") from error


def record_of(line: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(line)
    return record


def test_a_line_of_text_has_time_level_logger_and_words(written: Written) -> None:
    written()
    logger.info("ready")
    (line,) = written()
    time, rest = line.split(" ", 1)
    assert (len(time), time[-1]) == (len("2026-11-26T18:36:00.123Z"), "Z")
    assert rest == "INFO     memrepo_worker.test: ready"


def test_json_has_the_same_keys_first_then_the_events_own(written: Written) -> None:
    written(form="json")
    log(logger, logging.INFO, "shards.moved", "took 2 shards", {"taken": 2, "level": "not this"})
    (line,) = written()
    assert list(record_of(line)) == ["time", "level", "logger", "event", "message", "taken"]
    assert record_of(line)["event"] == "shards.moved"
    assert record_of(line)["level"] == "INFO"


@pytest.mark.parametrize("form", ["text", "json"])
def test_nothing_in_foreign_text_steers_a_terminal_or_begins_a_line(written: Written, form: Format) -> None:
    written(form=form)
    logger.warning("%s", HOSTILE)
    log(logger, logging.WARNING, "refused", f"refused {HOSTILE}", {"content_type": HOSTILE})
    lines = written()
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)
    if form == "text":
        assert ESCAPED in lines[0]
    else:
        assert record_of(lines[1])["content_type"] == HOSTILE


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_error_is_its_class_and_place_without_its_words(written: Written, form: Format) -> None:
    written(form=form)
    try:
        fail()
    except ValueError as error:
        log(logger, logging.WARNING, "fault", "a turn failed", cause=error)
        logger.exception("a heartbeat failed")
    lines = written()
    assert len(lines) == 2
    assert all("ValueError" in line and "test_logs.py:" in line for line in lines)
    assert not [line for line in lines if "SECRET" in line]


@pytest.mark.parametrize("form", ["text", "json"])
def test_at_debug_a_traceback_goes_back_to_the_first_cause_without_their_words(
    written: Written, form: Format
) -> None:
    written("DEBUG", form)
    try:
        fail()
    except ValueError as error:
        log(logger, logging.WARNING, "fault", "a turn failed", cause=error)
    lines = written()
    trace = [line.strip() for line in lines[1:]] if form == "text" else record_of(lines[0])["traceback"]
    assert [line for line in trace if line.startswith(("OSError", "ValueError"))] == ["OSError", "ValueError"]
    assert any(" in fail: raise ValueError(" in line for line in trace)
    assert form == "json" or all(line.startswith("    ") for line in lines[1:])


def test_libraries_are_heard_from_warning_on_and_the_framework_at_debug(written: Written) -> None:
    written("INFO")
    for name in ("celery.worker", "kombu.pidbox", "botocore"):
        logging.getLogger(name).info("chatter")
    logging.getLogger("botocore").warning("trouble")
    assert [line.rpartition(": ")[2] for line in written()] == ["trouble"]


def test_at_debug_the_framework_tells_all_but_results_and_others_do_not(written: Written) -> None:
    written("DEBUG")
    logging.getLogger("celery.worker").debug("chatter")
    logging.getLogger("celery.app.trace").info("SECRET-CONTENT")
    logging.getLogger("botocore").debug("SECRET-CONTENT")
    assert [line.rpartition(": ")[2] for line in written()] == ["chatter"]


def test_at_a_higher_level_warnings_of_libraries_are_not_heard_either(written: Written) -> None:
    written("ERROR")
    logging.getLogger("celery.worker").warning("trouble")
    logger.warning("trouble")
    assert written() == []


@pytest.mark.parametrize(
    ("level", "requests", "told"),
    [("INFO", False, 0), ("INFO", True, 1), ("WARNING", True, 1), ("DEBUG", False, 1)],
)
def test_request_lines_come_with_their_flag_and_at_debug(
    written: Written, level: str, requests: bool, told: int
) -> None:
    written(level, requests=requests)
    logging.getLogger(REQUESTS_LOGGER).info("commit acme/ann")
    assert len(written()) == told


def test_a_library_that_logs_badly_costs_no_traceback(
    written: Written, capsys: pytest.CaptureFixture[str]
) -> None:
    written()
    logging.getLogger("kombu").warning("%d of %s", "one")  # noqa: PLE1206 - as a library might
    assert [line.rpartition(": ")[2] for line in written()] == ["%d of %s"]
    assert capsys.readouterr().err == ""


def test_a_log_that_cannot_be_written_stops_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    root = logging.getLogger()
    handlers = root.handlers
    configure(LogOptions(), Full())
    try:
        logger.warning("trouble")
    finally:
        root.handlers = handlers
        logging.captureWarnings(False)
    assert capsys.readouterr().err == ""
