"""Celery's side of ownership: the step that keeps the consumer's queues equal to the shards that are ours."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from celery import bootsteps, signals
from kombu.asynchronous.hub import Hub

from memrepo.clock import steady_clock
from memrepo.routing import queue_name, shard_of
from memrepo.wording import counted
from memrepo_worker.group import Agent
from memrepo_worker.logs import log
from memrepo_worker.queues.consumer.consumer import MemrepoConsumer
from memrepo_worker.queues.consumer.intake import Intake
from memrepo_worker.queues.consumer.task_request import RequestTicket
from memrepo_worker.queues.leases.keeper import Keeper
from memrepo_worker.queues.transport.context import ShardContext
from memrepo_worker.queues.transport.messages import shard_of_queue
from memrepo_worker.scheduling.mailbox import Mailbox
from memrepo_worker.settings import WorkerSettings

logger = logging.getLogger(__name__)

EVENTS_TIMEOUT_S = 2.0
"""How long a stop waits for the broker to take the last events."""

SILENCE_S = 5.0
"""How much longer than what runs a stop may take, for all that it says to the broker."""

HURRY_S = 2.0
"""The same after a second signal."""


@dataclass(frozen=True)
class _Ended:
    """What a worker's end made of what it had: told in the last line of its log.

    ``shards`` were given up, ``kept`` could not be; ``handed_over`` are requests that had not begun, or that waited for
    the store; ``cut_off`` had not ended.
    """

    shards: int
    kept: int
    handed_over: int
    cut_off: int
    exit_code: int

    def __str__(self) -> str:
        return "; ".join(self._parts())

    def _parts(self) -> Iterator[str]:
        requests = counted(self.handed_over, "request")
        if not self.kept:
            yield f"{counted(self.shards, 'shard')} and {requests} handed over"
        else:
            yield f"the broker did not take {counted(self.kept, 'shard')} back, others take over when their leases end"
            if self.handed_over:
                yield f"{requests} wait there for that"
        if self.cut_off:
            yield f"{counted(self.cut_off, 'request')} cut off: their next owner settles them"
        if self.kept or self.cut_off:
            yield "nothing that was acknowledged is lost"
        yield f"exit code {self.exit_code}"


class Ownership(bootsteps.StartStopStep):
    """Owns the keeper. Celery starts and stops this step at every reconnect; the keeper goes on meanwhile."""

    requires = (Intake,)

    def __init__(
        self,
        consumer: MemrepoConsumer,
        *,
        settings: WorkerSettings,
        shard_context: ShardContext,
        new_token: Callable[[], str],
        exit_now: Callable[[int], None],
        show_alive: Callable[[], None],
        ask_rights: Callable[[], None],
        hurried_by: Collection[str],
        **options: Any,
    ) -> None:
        super().__init__(consumer, **options)
        self._consumer = consumer
        self._settings = settings
        self._owned_shards = shard_context.owned_shards
        self._exit_now = exit_now
        self._hurried_by = hurried_by
        self._signals: list[str] = []
        self._asked_s: float | None = None
        """When the first signal came."""
        self._exit_code = 0
        self._hurry = threading.Event()
        signals.worker_shutting_down.connect(self._count_signal)
        consumer.app.amqp.queues.deselect([queue_name(shard) for shard in range(settings.shards)])
        self.keeper = Keeper(
            shard_context.leases,
            shard_context.owned_shards,
            holder=self,
            count=settings.shards,
            new_token=new_token,
            observer=shard_context.observer,
            show_alive=show_alive,
            deliverable=shard_context.deliverable,
            running_kept_s=settings.soft_shutdown_timeout_s,
            ask_rights=ask_rights,
        )
        consumer.deliverable = consumer.app.backend.deliverable = shard_context.deliverable
        consumer.end_in_order = self.end

    @property
    def _mailbox(self) -> Mailbox[RequestTicket]:
        return self._consumer.intake.mailbox

    def start(self, consumer: MemrepoConsumer) -> None:
        """Take a share, and consume what is ours over the new connection."""
        self.keeper.start()
        self._consume_ours(consumer)

    def register_with_event_loop(self, consumer: MemrepoConsumer, hub: Hub) -> None:
        """See to it, over each connection, that what is owned is consumed, whatever else ended that."""
        hub.call_repeatedly(self.keeper.beat_s, self._consume_ours, consumer)

    def stop(self, consumer: MemrepoConsumer) -> None:
        """Nothing: a lost connection costs no shard."""

    def end(self) -> None:
        """End for good: finish what runs, give everything else back in order, leave. Celery's consumer calls it.

        A second signal, one of ``hurried_by``, or the end of ``soft_shutdown_timeout_s``, ends the waiting: what runs
        then is given back too, and its next owner settles it. A broker that is away takes nothing
        back: then the leases run out.
        """
        self._listen_for_hurry()
        self.keeper.stop()
        everything = self._owned_shards.all()
        self._owned_shards.close(everything)
        self._mailbox.stop()
        given_back = self._given_back()
        self.hand_over(everything)
        self._consumer.intake.events.flush(EVENTS_TIMEOUT_S)
        self._tell_begin(len(everything))
        done = self._wait_until_clear()
        running = self._mailbox.unsettled(lambda _: True)
        kept = len(self._owned_shards.all())
        if self.keeper.leave():
            kept = 0
        self._consumer.intake.events.flush(EVENTS_TIMEOUT_S)
        code = self._exit_code if done else 1
        self._tell_end(_Ended(len(everything) - kept, kept, self._given_back() - given_back, running, code))
        if not done:
            self._exit_now(1)

    def _given_back(self) -> int:
        return int(self._consumer.intake.counters.snapshot().get("requests.given_back", 0))

    def _tell_begin(self, shards: int) -> None:
        running = self._mailbox.unsettled(lambda _: True)
        why = self._signals[0] if self._signals else "remote control"
        message = f"stopping on {why}: {counted(running, 'request')} still running, the rest is handed over"
        fields = {"reason": why, "shards": shards, "running": running}
        log(logger, logging.INFO, "worker.stopping", message, fields)

    def _tell_end(self, ended: _Ended) -> None:
        level = logging.WARNING if ended.cut_off or ended.kept else logging.INFO
        log(logger, level, "worker.stopped", f"stopped: {ended}", asdict(ended))

    def hand_over(self, shards: Collection[int]) -> None:
        """Let go of the parked requests of these shards."""
        self._consumer.intake.let_go(self._of(shards))

    def is_clear(self, shard: int) -> bool:
        """Tell whether nothing of the shard is in the mailbox."""
        return self._mailbox.unsettled(self._of([shard])) == 0

    def changed(self) -> None:
        """Have the consumer's thread adapt what it consumes."""
        if self._consumer.task_consumer is not None:
            self._consumer.call_soon(self._consume_ours, self._consumer)

    def _of(self, shards: Collection[int]) -> Callable[[Agent], bool]:
        count, wanted = self._settings.shards, frozenset(shards)
        return lambda agent: shard_of(agent.org_id, agent.agent_id, count) in wanted

    def _consume_ours(self, consumer: MemrepoConsumer) -> None:
        ours = {
            queue_name(shard)
            for shard, owned_shard in self._owned_shards.all().items()
            if owned_shard.is_open
        }
        consuming = consumer.task_consumer
        consumed = consuming.channel.shard_queues()
        known = {queue.name for queue in consuming.queues if shard_of_queue(queue.name) is not None}
        for queue in sorted((known | consumed) - ours):
            consumer.cancel_task_queue(queue)
        for queue in sorted(ours - consumed):
            consuming.cancel_by_queue(queue)  # else kombu does nothing where it believes that it consumes
            consumer.add_task_queue(queue)

    def _wait_until_clear(self) -> bool:
        """Wait until nothing runs any more, giving up shard by shard what is clear; False: it took too long."""
        began_s = self._asked_s if self._asked_s is not None else steady_clock()
        while not self._mailbox.drain(lambda _: True, 0.1):
            self.keeper.leave_clear()
            if self._hurry.is_set() or steady_clock() - began_s >= self._settings.soft_shutdown_timeout_s:
                return False
        return True

    def _count_signal(self, sig: str, exitcode: int = 0, **_: object) -> None:
        """Notice the second signal also when it comes before the end has begun."""
        self._signals.append(sig)
        if len(self._signals) == 1:
            self._asked_s, self._exit_code = steady_clock(), exitcode
            threading.Thread(target=self._end_in_time, name="memrepo-end", daemon=True).start()
        elif sig in self._hurried_by:
            self._hurry.set()

    def _end_in_time(self) -> None:
        """End the process where the broker is silent: every step of a stop, Celery's too, would wait long for it.

        What was not handed over is taken over by others when the leases end, as that of a worker that was killed.
        """
        if self._hurry.wait(self._settings.soft_shutdown_timeout_s + SILENCE_S):
            threading.Event().wait(HURRY_S)  # the end in order may come still
        running = self._mailbox.unsettled(lambda _: True)
        ended = _Ended(0, len(self._owned_shards.all()), 0, running, 1)
        message = (
            f"ended without a last word, as stopping took too long, of the broker or of what runs: {ended}"
        )
        log(logger, logging.WARNING, "worker.cut_off", message, asdict(ended))
        self._exit_now(1)

    def _listen_for_hurry(self) -> None:
        """From here on any signal is a later one: Celery's own handlers would sleep, or cancel threads."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
                signal.signal(number, lambda number, _: self._count_signal(signal.Signals(number).name))
