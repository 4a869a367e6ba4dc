"""A client of a cloud's SDK that is made anew where its credentials are refused.

An SDK reads credentials from a file once, when its client is made. Where somebody renews them there, after they expired
or were rotated, only a new client knows.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from memrepo.clock import Clock, steady_clock
from memrepo_worker.store.interface import RefusedError, StoreError

Client = TypeVar("Client")

RENEW_EVERY_S = 3.0
"""As long as credentials are refused, so often at most they are looked for anew."""


class CredentialsRefusedError(RefusedError):
    """The store does not know these credentials, or not any more; the request did nothing."""


class Renewing(Generic[Client]):
    """The client in use. Thread-safe; a request that is under way keeps the client that it began with."""

    def __init__(
        self,
        client: Client,
        make: Callable[[], Client],
        every_s: float = RENEW_EVERY_S,
        clock: Clock = steady_clock,
    ) -> None:
        self.current = client
        self._make = make
        self._every_s = every_s
        self._clock = clock
        self._lock = threading.Lock()
        self._made_s = clock() - every_s

    @contextmanager
    def request(self) -> Iterator[Client]:
        """Lend the client for a request; if that is refused for its credentials, the next one gets a new client."""
        client = self.current
        try:
            yield client
        except CredentialsRefusedError:
            self._renew(client)
            raise

    def _renew(self, refused: Client) -> None:
        """Make a new client; the one in use stays while none can be made, and where it was just made."""
        with self._lock:
            if self.current is not refused or self._clock() - self._made_s < self._every_s:
                return
            self._made_s = self._clock()
            try:
                self.current = self._make()
            except StoreError:  # told with the next request, too
                return
