"""A process that stands still for a while, as one that the machine gives no time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psutil


@contextmanager
def suspended(pid: int) -> Iterator[None]:
    """Have a process do nothing within the block: what is sent to a worker waits, and none of it has begun."""
    process = psutil.Process(pid)
    process.suspend()
    try:
        yield
    finally:
        process.resume()
