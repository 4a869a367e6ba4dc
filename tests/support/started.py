"""Servers that a test starts: up when asked for, gone afterwards, also when the test fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.ports import not_ready
from tests.support.warm import Running, begin


@contextmanager
def started(
    arguments: Sequence[str],
    *,
    folder: Path,
    ready: Callable[[], bool],
    env: Mapping[str, str] | None = None,
    timeout_s: float = 30.0,
) -> Iterator[Running]:
    """Run a server until the block ends; its output is kept in ``folder``.

    Raises:
        PortTakenError: it ended, as somebody has a port of its.
        RuntimeError: it did not get ready; the message ends with its last words.
    """
    log = folder / f"{Path(arguments[0]).name}.log"
    with log.open("wb") as output:
        process = begin(
            arguments,
            env={"PATH": "/usr/bin:/bin", "HOME": str(folder), **(env or {})},
            stdout=output,
            stderr=output,
        )
    try:
        _wait_until_ready(process, ready, log, timeout_s)
        yield process
    finally:
        process.kill()
        process.wait()


def _wait_until_ready(process: Running, ready: Callable[[], bool], log: Path, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise not_ready(log.stem, log.read_text(errors="replace")[-3000:])
        time.sleep(0.02)
