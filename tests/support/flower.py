"""A real Flower beside a test's worker, asked over HTTP."""

from __future__ import annotations

import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from memrepo.settings import environment
from tests.support.host import inherited
from tests.support.ports import LOOPBACK, begun_at_a_free_port, free_port
from tests.support.started import started

Ask = Callable[..., str]
"""Asks a Flower for a page; with ``data`` it is told to do something."""


@contextmanager
def running_flower(folder: Path, broker_url: str, ready: Callable[[Ask], bool]) -> Iterator[Ask]:
    """Run a Flower that is not read-only until the block ends; it is up when ``ready`` says so."""
    with ExitStack() as stack:
        yield begun_at_a_free_port(lambda: _begin(folder, broker_url, ready, stack))


def _begin(folder: Path, broker_url: str, ready: Callable[[Ask], bool], stack: ExitStack) -> Ask:
    port = free_port()

    def ask(path: str, data: bytes | None = None) -> str:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}{path}", data, timeout=10) as answer:
            return str(answer.read(), "utf-8")

    def answers() -> bool:
        try:
            return ready(ask)
        except OSError:
            return False

    arguments = ["-A", "memrepo_worker", "flower", f"--address={LOOPBACK}", f"--port={port}"]
    env = {
        "PATH": environment()["PATH"],
        **inherited(),
        "MEMREPO_BROKER_URL": broker_url,
        "FLOWER_UNAUTHENTICATED_API": "true",
    }
    command = [sys.executable, "-m", "celery", *arguments]
    stack.enter_context(started(command, folder=folder, ready=answers, env=env))
    return ask
