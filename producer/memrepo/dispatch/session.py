"""What a client has open: a way to send and a way to hear, opened at first use and closed with all that waits sent."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from concurrent.futures import wait
from typing import Any

from memrepo.clock import steady_clock
from memrepo.dispatch import at_exit
from memrepo.dispatch.lost.resend import Resends
from memrepo.dispatch.publisher import Publisher
from memrepo.dispatch.replies import Replies
from memrepo.dispatch.serving import Serving
from memrepo.errors import BrokerUnavailableError
from memrepo.ids import new_id
from memrepo.jobs.pending import Pending
from memrepo.settings import Settings
from memrepo.wording import counted

IDS_TOLD_MAX = 10
GIVING_UP_S = 0.7  # how much later than promised the publisher may give a request up, and say why

log = logging.getLogger(__name__)


class Connections:
    """A client's threads and connections, of this process. Closed by the client, or at exit."""

    def __init__(self, settings: Settings, owner: str) -> None:
        """``owner`` says whose they are, for a warning that nobody closed them."""
        self._settings = settings
        self._owner = owner
        self._retired = self._closed = False
        self.replies = Replies(
            settings,
            new_id(),
            on_poll=self._on_poll,
            on_forgotten=self._on_forgotten,
            on_connected=self._on_connected,
        )
        self.publisher = Publisher(settings, self.replies.wait_subscribed)
        self.serving = Serving(self.publisher, settings.shards)
        self.resends = Resends(settings, self.publisher, self.replies.look, self.serving.is_served)
        at_exit.opened(self)

    def _on_poll(self) -> None:
        if self._retired and not self.replies.unended():
            self.close()
            return
        if self.replies.some_wait_long():
            self.serving.refresh()
        self.resends.check()

    def _on_connected(self) -> None:
        self.resends.look_anew()

    def _on_forgotten(self, pending: Pending[Any]) -> None:
        self.resends.untrack(pending)

    def retire(self) -> None:
        """Close by itself once all that was sent has ended: the client is gone, unclosed. Called by the collector."""
        if self._closed:  # at exit
            return
        self._retired = True
        if not self.publisher.started and not self.replies.started:
            self.close()
        self._warn()

    def begin_closing(self) -> float:
        """Take nothing more on, as the interpreter exits; return how long what waits may take (s)."""
        self._closed = True
        self._finish()
        return self.publisher.allowance_s() + GIVING_UP_S

    def close(self, within_s: float | None = None) -> None:
        """Send what waits, within ``within_s`` or as long as that may take, hear what comes of it, and disconnect.

        What could not be sent is given up and told in one warning. What was sent and nobody has ever asked for gets a
        moment to be answered, where a worker serves it: a failure that comes at once is told, too.
        """
        at_exit.closed(self)
        self._closed = True
        allowed_s = self.publisher.allowance_s() + GIVING_UP_S if within_s is None else within_s
        ends_at_s = steady_clock() + allowed_s
        self._finish()
        self.publisher.join(allowed_s)
        self._give_up([one for one in self.replies.unended() if one.sent is not None and not one.sent.done()])
        self._hear_more(min(self._settings.poll_interval_s, ends_at_s - steady_clock()))
        self.replies.close()

    def _finish(self) -> None:
        if any(map(_is_unasked, self.replies.unended())):
            self.serving.ask()  # the last that the publisher does
        self.publisher.finish()

    def _give_up(self, unsent: Sequence[Pending[Any]]) -> None:
        broker = self._settings.broker
        self._tell([one for one in unsent if not one.looked_at])
        for one in unsent:
            one.look_at()  # it is told by now
            if one.sent is not None:
                one.sent.cancel()
            one.fail(
                BrokerUnavailableError(
                    f"The client was closed before the broker at {broker} took the request; if it was on its way just "
                    "then, it may still be applied."
                ),
                sent=False,
            )

    def _tell(self, lost: Sequence[Pending[Any]]) -> None:
        if lost:
            first = ", ".join(f"{one.task_id} ({one.about})" for one in lost[:IDS_TOLD_MAX])
            more = f", and {len(lost) - IDS_TOLD_MAX} more" if len(lost) > IDS_TOLD_MAX else ""
            requests = counted(len(lost), "request")
            broker = self._settings.broker
            log.warning("closed before the broker at %s took %s: job %s%s", broker, requests, first, more)

    def _hear_more(self, within_s: float) -> None:
        unheard = [
            one.future
            for one in self.replies.unended()
            if _is_unasked(one) and self.serving.is_served(one.queue)
        ]
        if unheard and within_s > 0:
            wait(unheard, within_s)

    def warn(self) -> None:
        """Warn that nobody closed it, unless that was done when its client was gone."""
        if not self._retired:
            self._warn()

    def _warn(self) -> None:
        text = (
            f"unclosed {self._owner} of {self._settings.broker}: use it as a context manager, or close() it"
        )
        warnings.warn(text, ResourceWarning, stacklevel=3, source=self)


def _is_unasked(job: Pending[Any]) -> bool:
    return not job.looked_at and not job.asked_for and job.status in ("queued", "running")
