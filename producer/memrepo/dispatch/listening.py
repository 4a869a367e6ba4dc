"""Who wants to be told that a memory was written to, on the connection that replies are heard on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redis.client import PubSub

Heard = Callable[[], None]


class Listeners:
    """Callables by the channel that wakes them. Thread-safe; subscribed to by the thread that hears replies."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_channel: dict[str, list[Heard]] = {}
        self._subscribed: set[str] = set()

    def listen(self, channel: str, heard: Heard) -> Callable[[], None]:
        """Have ``heard`` called for each message there, and once it is subscribed to; it must not wait.

        What comes back ends that.
        """
        with self._lock:
            self._by_channel.setdefault(channel, []).append(heard)
            is_subscribed = channel in self._subscribed
        if is_subscribed:
            heard()

        def stop() -> None:
            with self._lock:
                rest = [one for one in self._by_channel.get(channel, []) if one is not heard]
                self._by_channel[channel] = rest
                if not rest:
                    del self._by_channel[channel]

        return stop

    def connected(self) -> None:
        """Note that the connection is a new one, which is subscribed to nothing."""
        with self._lock:
            self._subscribed.clear()

    def follow(self, pubsub: PubSub) -> None:
        """Subscribe to what is wanted since, and no more to what nobody wants."""
        with self._lock:
            wanted = set(self._by_channel)
            new, gone = wanted - self._subscribed, self._subscribed - wanted
            self._subscribed = wanted
        if new:
            pubsub.subscribe(*new)
        if gone:
            pubsub.unsubscribe(*gone)

    def wake(self, channel: str) -> bool:
        """Tell who listens there; return whether anybody did."""
        with self._lock:
            heard = list(self._by_channel.get(channel, ()))
        for one in heard:
            one()
        return bool(heard)
