"""TCP ports of this machine."""

from __future__ import annotations

import socket
from contextlib import closing
from dataclasses import dataclass

HOST = "127.0.0.1"


class PortTakenError(Exception):
    """A port that was asked for cannot be had; the message says which, why, and who asked."""


@dataclass(frozen=True)
class PortWish:
    """A port to listen on; 0 is any. ``asked_by`` is the option or variable that wants just this one, empty if none."""

    number: int
    asked_by: str = ""

    @property
    def is_fixed(self) -> bool:
        """Whether no other port will do."""
        return bool(self.asked_by and self.number)

    def take(self) -> int:
        """Return the port, or another that is free where somebody has the usual one and nobody asked for it.

        Raises:
            PortTakenError: it was asked for, and cannot be had.
        """
        try:
            return _bound(self.number)
        except OSError as error:
            if self.asked_by:
                raise PortTakenError(
                    f"port {self.number} cannot be used ({error.strerror}): "
                    f"give another with {self.asked_by}, or 0 for any"
                ) from error
            return _bound(0)


def _bound(number: int) -> int:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, number))
        return int(probe.getsockname()[1])
