"""Waiting for events: kombu's poller, which also hears announcements of messages in shard queues."""

# kombu's methods have no types.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from kombu.transport import redis as kombu_redis

if TYPE_CHECKING:
    from memrepo_worker.queues.transport.channel import ShardChannel

WATCH, NUDGE = "WATCH", "NUDGE"
"""What a file descriptor of the poller is for, beside kombu's own kinds."""


class ShardPoller(kombu_redis.MultiChannelPoller):
    """kombu's poller, which also waits for announcements."""

    def __init__(self) -> None:
        super().__init__()
        self._nudged, self._nudging = socket.socketpair()
        for end in (self._nudged, self._nudging):
            end.settimeout(0)
        self._fd_to_chan[self._nudged.fileno()] = (None, NUDGE)

    def close(self) -> None:
        """Wait for nothing any more."""
        super().close()
        for end in (self._nudged, self._nudging):
            end.close()

    def nudge(self) -> None:
        """End the next wait for events at once."""
        with suppress(BlockingIOError):  # full of nudges: one is enough
            self._nudging.send(b".")

    def watch(self, channel: ShardChannel, watched: socket.SocketType) -> None:
        """Wait for announcements of a channel, too."""
        self._fd_to_chan[watched.fileno()] = (channel, WATCH)
        self.poller.register(watched, self.eventflags)

    def unwatch(self, channel: ShardChannel) -> None:
        """Wait for a channel's announcements no longer."""
        for fileno in [fd for fd, known in self._fd_to_chan.items() if known == (channel, WATCH)]:
            del self._fd_to_chan[fileno]
            with suppress(KeyError, ValueError, OSError):
                self._unregister_from_poll(fileno)

    def on_poll_start(self) -> None:
        """Deliver what waits before waiting for more."""
        super().on_poll_start()
        for channel in list(self._channels):
            channel.deliver_waiting()

    def on_readable(self, fileno: int) -> None:
        """Hear an announcement."""
        channel, kind = self._fd_to_chan.get(fileno, (None, None))
        if kind == WATCH:
            channel.hear()
        elif kind == NUDGE:
            with suppress(BlockingIOError):
                self._nudged.recv(4096)
        else:
            super().on_readable(fileno)
