"""Notices calls that would block an event loop: waiting for the network, for a lock's condition, for a file or time.

It watches only what is done on the loop's own thread. Starting a thread is let through: it happens once per client.
"""

from __future__ import annotations

import asyncio
import builtins
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

SOCKET_CALLS = ("connect", "send", "sendall", "recv", "recv_into", "accept")


def _on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _starts_a_thread() -> bool:
    return any(frame.name == "start" and "threading" in frame.filename for frame in traceback.extract_stack())


@contextmanager
def loop_guard(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Yield the list of blocking calls that were made on a loop, each with where it came from."""
    seen: list[str] = []

    def record(what: str) -> None:
        where = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_stack(limit=8)]
        seen.append(f"{what} from {where}")

    def watched(what: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watching(*args: Any, **kwargs: Any) -> Any:
            at_once = kwargs.get("timeout", args[-1] if args else None) == 0
            if _on_a_loop() and not at_once and not _starts_a_thread():
                record(what)
            return call(*args, **kwargs)

        return watching

    def watched_socket(name: str) -> Callable[..., Any]:
        call = getattr(socket.socket, name)

        def watching(self: socket.socket, *args: Any) -> Any:
            if _on_a_loop() and self.gettimeout() != 0:
                record(f"socket.{name}")
            return call(self, *args)

        return watching

    with monkeypatch.context() as patch:
        for name in SOCKET_CALLS:
            patch.setattr(socket.socket, name, watched_socket(name))
        patch.setattr(socket, "getaddrinfo", watched("getaddrinfo", socket.getaddrinfo))
        patch.setattr(time, "sleep", watched("time.sleep", time.sleep))
        patch.setattr(builtins, "open", watched("open", builtins.open))
        patch.setattr(threading.Condition, "wait", watched("Condition.wait", threading.Condition.wait))
        patch.setattr(threading.Thread, "join", watched("Thread.join", threading.Thread.join))
        yield seen
