"""Whether a message may be in its queue although no broker said so: what was sent, and whose answer was lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from memrepo.errors import BrokerUnavailableError, MemoryRepoBusyError, MemoryRepoError
from memrepo.redis.errors import was_refused
from memrepo.redis.trouble import MAY_BE_ENQUEUED


class Delivery:
    """What is known of one message on its way. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._given_up = False
        self._tries = 0  # whose end nobody knows, or that went well

    def begin(self) -> bool:
        """Note that it is sent now; return False, and send nothing, if it was given up."""
        with self._lock:
            self._tries += not self._given_up
            return not self._given_up

    def refused(self) -> None:
        """Note that the broker refused the last try: that one has put nothing into the queue."""
        with self._lock:
            self._tries -= 1

    def give_up(self) -> bool:
        """Have it sent no more; return whether it may be in its queue all the same."""
        with self._lock:
            self._given_up = True
            return self._tries > 0


class _Held:
    """The messages of one round trip."""

    def __init__(self) -> None:
        self._deliveries: list[Delivery] = []

    def add(self, delivery: Delivery) -> bool:
        """Take one more on; return False if it was given up."""
        if not delivery.begin():
            return False
        self._deliveries.append(delivery)
        return True

    def flushed(self) -> None:
        """Note that the broker took them."""
        self._deliveries.clear()

    def refused(self) -> None:
        """Note that the broker refused all of them."""
        for delivery in self._deliveries:
            delivery.refused()


@contextmanager
def on_their_way() -> Iterator[_Held]:
    """Keep count of what is sent in one transaction, whose failure may mean that it was refused, all of it."""
    held = _Held()
    try:
        yield held
    except Exception as error:
        if was_refused(error):
            held.refused()
        raise


def may_be_enqueued(error: MemoryRepoError) -> MemoryRepoError:
    """Return the error for a request that was given up after a try whose end nobody knows."""
    if error.details.get(MAY_BE_ENQUEUED):
        return error
    kind = BrokerUnavailableError if isinstance(error, MemoryRepoBusyError) else type(error)
    text = f"{error.message} It may be enqueued all the same: the answer to a try was lost."
    doubtful = kind(text, {**error.details, MAY_BE_ENQUEUED: True})
    doubtful.__cause__ = error.__cause__
    return doubtful
