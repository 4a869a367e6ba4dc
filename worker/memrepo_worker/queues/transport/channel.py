"""Our transport: kombu's on Redis, except that shard queues are delivered by one fenced script.

What is kombu's own stays kombu's own: events, remote control, every other queue. For shard queues five things that it
does (seen with 5.7, and shown in ``tests/queues/test_what_stock_kombu_does_and_ours_does_not.py``) would break order or
ownership; here stands what is done instead:

1. Closing a channel puts fetched messages back in reverse. Nothing is put back here: this process still holds its
   requests and will finish them, or a release gives them back, in order, in one step.
2. Cancelling a queue does not stop a pop in flight, whose message then goes back as the last. A pop here is one script
   that returns at once; there is none in flight when a shard is closed.
3. A lost connection puts back what is being worked on, and another worker runs it too. See 1.
4. An acknowledgement on a closed channel ends the worker. Here it needs no channel, and may come late.
5. What a killed worker held stays hidden for an hour while later messages overtake it. Here it goes back, before
   anything else is delivered, when its lease is over.

And a worker that dies between kombu's pop and its note of it loses the message: here both are one step, under the
owner's token, and what a lost answer delivered is found again. All touches on kombu's private parts are in this module
and in ``poller``.
"""

# kombu's methods have no types.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from typing import Any

from kombu.asynchronous.hub import Hub
from kombu.connection import Connection
from kombu.message import Message
from kombu.transport import redis as kombu_redis
from kombu.utils.json import dumps
from redis import RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from memrepo.redis.address import RedisUrl
from memrepo.redis.errors import FULL, OTHER_TYPE, Action, MissingRightsError, NotPrimaryError, meaning_of
from memrepo.redis.rights import require_rights
from memrepo.redis.transport import AddressedChannel
from memrepo.routing import queue_name
from memrepo.wire.rights import DELIVERY
from memrepo_worker.bounds import SharingBounds
from memrepo_worker.logs import log
from memrepo_worker.queues.leases import deliverable
from memrepo_worker.queues.leases.owned import OwnedShard
from memrepo_worker.queues.transport.context import ShardContext
from memrepo_worker.queues.transport.messages import (
    HEAD_BYTES_MAX,
    Delivery,
    Popped,
    Refused,
    pop,
    read_tag,
    reply_channel,
    shard_of_queue,
    tag_of,
)
from memrepo_worker.queues.transport.poller import ShardPoller
from memrepo_worker.queues.transport.tracking import TrackingConnection
from memrepo_worker.trouble import LastingTrouble

logger = logging.getLogger(__name__)

LOOK_AGAIN_S = 5.0
"""How often all queues are looked at although nothing was announced: in case an announcement got lost."""
TRY_AGAIN_S = 2.0
"""How often it is looked whether messages may be delivered again."""


class ShardQoS(kombu_redis.QoS):
    """Keeps no books of shard messages: Redis does."""

    may_take: Callable[[], bool] = staticmethod(lambda: True)
    """Whether there is room for more; set by who takes the messages."""

    def can_consume(self) -> bool:
        """Tell whether more may be delivered."""
        return self.may_take() and bool(super().can_consume())

    def append(self, message: Message, delivery_tag: str) -> None:
        """Note a delivery, unless it is a shard's: the pop has noted that already."""
        if read_tag(delivery_tag) is None:
            super().append(message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a message."""
        if read_tag(delivery_tag) is not None:
            self.channel.shard_context.acknowledge(delivery_tag)
        else:
            super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: FBT001, FBT002 - kombu's signature
        """Remove a message; a shard's is never requeued: that would make it the last."""
        if read_tag(delivery_tag) is not None:
            self.channel.shard_context.acknowledge(delivery_tag)
        else:
            super().reject(delivery_tag, requeue=requeue)

    def restore_visible(self, *args: object, **kwargs: object) -> None:
        """Put nothing back by the clock: a lease's end says when a worker is dead."""


class ShardChannel(AddressedChannel):
    """A channel that delivers the shards which the process owns, when it is told of new messages."""

    QoS = ShardQoS

    def __init__(self, transport: ShardTransport, **kwargs: Any) -> None:
        self.shard_context = transport.shard_context
        self.address = transport.address
        self._watching: TrackingConnection | None = None
        self._shard_queues: frozenset[str] = frozenset()
        self._others: list[str] = []
        """What of the queues that are consumed kombu itself delivers."""
        self._waiting: set[str] = set()
        self._unchecked: set[str] = set()
        self._rounds = 0
        self._one_by_one = False
        """Whether the queue of one shard could not be read lately: of each shard it is found out on its own."""
        self._refused = LastingTrouble(logger, "broker.refuses")
        super().__init__(transport, **kwargs)

    @property
    def active_queues(self) -> list[str]:
        """The queues that kombu itself delivers."""
        return self._others

    def _update_queue_cycle(self) -> None:
        """Note which queues are consumed, which kombu says here whenever it has changed: it is asked at every event."""
        self._shard_queues = frozenset(
            queue for queue in self._active_queues if shard_of_queue(queue) is not None
        )
        self._others = [queue for queue in super().active_queues if queue not in self._shard_queues]
        super()._update_queue_cycle()

    def basic_consume(self, queue: str, *args: Any, **kwargs: Any) -> object:
        """Begin to consume a queue; a shard's is looked at once, then when something is announced."""
        result = super().basic_consume(queue, *args, **kwargs)
        if shard_of_queue(queue) is not None:
            self._waiting.add(queue)
            self._unchecked.add(queue)
        return result

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        """Bind a queue; where the server's memory is full, without its note of that: else nobody could begin to drain.

        The notes are of remote control alone, which reaches a worker by a channel all the same.
        """
        try:
            super()._queue_bind(exchange, routing_key, pattern, queue)
        except ResponseError as error:
            if not meaning_of(error).is_(FULL):
                raise

    def shard_queues(self) -> frozenset[str]:
        """Return the shard queues that are consumed."""
        return self._shard_queues

    def look_again(self) -> None:
        """Look at every shard queue at the next occasion.

        Raises:
            redis.ConnectionError: the server is not the primary any more; it would let us look, and wait for ever.
        """
        if self._watching is not None:
            try:
                self._watching.require_primary()
            except NotPrimaryError as error:
                raise RedisConnectionError(meaning_of(error).reason) from error
        self._waiting |= self.shard_queues()
        self._one_by_one = False

    def deliver_waiting(self) -> None:
        """Deliver one round, if there is room; called before each wait for events.

        While more waits the wait for events is cut short: remote control and heartbeats get their turn in between.
        """
        if self._waiting and self.qos.can_consume() and not self._is_hindered:
            try:
                self._deliver_round()
            except ResponseError as error:
                self._refuse_round(error)
            else:
                self._refused.over()
                self.shard_context.deliverable.clear(deliverable.DELIVERY, deliverable.CONNECTION)
                if self._waiting:
                    self.connection.cycle.nudge()

    def _refuse_round(self, error: ResponseError) -> None:
        """Meet what the server refused to deliver; where it is only full, another occasion comes within a second."""
        self.shard_context.observer.count("transport.pops.refused")
        meaning = meaning_of(error)
        if meaning.action is Action.CONNECT_ANEW:
            raise RedisConnectionError(meaning.reason) from error
        if meaning.is_(OTHER_TYPE) and not self._one_by_one:
            self._one_by_one = True
        elif not self.shard_context.deliverable.meet(deliverable.DELIVERY, meaning):
            self._refused.met(f"the broker refuses to deliver: {meaning.reason}", cause=error)
        if self._one_by_one and self._waiting:
            self.connection.cycle.nudge()

    @property
    def _is_hindered(self) -> bool:
        hindrance = self.shard_context.deliverable.hindrance
        return hindrance is not None and hindrance.lasting

    def try_again(self) -> None:
        """Look whether messages may be delivered again, if that was in question."""
        state = self.shard_context.deliverable
        if state.hindrance is None:
            return
        try:
            require_rights(self.client, DELIVERY, self.address.username)
            if self._watching is None:
                self._watching = self._watch()
        except (ResponseError, MissingRightsError) as error:
            state.meet(deliverable.DELIVERY, meaning_of(error))
        else:
            state.clear(deliverable.DELIVERY, deliverable.CONNECTION)

    def _deliver_round(self) -> None:
        owned_shards = self._owned_waiting()[: 1 if self._one_by_one else None]
        if owned_shards:
            queues = [queue_name(owned_shard.shard) for owned_shard in owned_shards]
            if self._one_by_one:
                # Where it is the one that cannot be read, it waits until all are looked at again.
                self._waiting.discard(queues[0])
            self._deliver_lost_answers(owned_shards)
            self._unchecked.update(queues)  # should an error end this round: the next one finds what it left
            answer = self._pop(owned_shards)
            try:
                for owned_shard, popped in zip(owned_shards, answer, strict=True):
                    self._keep_waiting(owned_shard, popped)
                for queue, owned_shard, popped in zip(queues, owned_shards, answer, strict=True):
                    self._deliver_all(owned_shard, popped.deliveries)
                    self._unchecked.discard(queue)
            finally:  # what came with the answer lies in a buffer where no poller sees it; after what it brought
                self._note_announced()

    def hear(self) -> None:
        """Note what was announced; of one queue alone it is taken in: Celery's loop would come to it later.

        Where several wait, more have come together by then, and a round takes of all of them.
        """
        self._note_announced()
        if len(self._waiting) == 1 and self._watching is not None:
            self.deliver_waiting()

    def close(self) -> None:
        """Close the channel; what it delivered stays delivered."""
        if self._watching is not None:
            watching, self._watching = self._watching, None
            self.connection.cycle.unwatch(self)
            watching.close()
        super().close()

    def _owned_waiting(self) -> list[OwnedShard]:
        """Return the shards that are ours of the queues that wait, beginning with another one each time."""
        found = [
            owned_shard
            for queue in sorted(self._waiting)
            if (owned_shard := self._open_shard(queue)) is not None
        ]
        self._rounds += 1
        first = self._rounds % len(found) if found else 0
        return found[first:] + found[:first]

    def _open_shard(self, queue: str) -> OwnedShard | None:
        """Return the owned shard of a queue that we may deliver from; a queue that we may not, waits no longer."""
        shard = shard_of_queue(queue)
        owned_shard = None if shard is None else self.shard_context.owned_shards.get(shard)
        if owned_shard is not None and owned_shard.is_open and queue in self._shard_queues:
            return owned_shard
        self._waiting.discard(queue)
        return None

    def _pop(self, owned_shards: Sequence[OwnedShard]) -> list[Popped]:
        if self._watching is None:
            self._watching = self._watch()
        messages_max = max(1, SharingBounds.round_messages_max // len(owned_shards))
        bytes_max = SharingBounds.round_bytes_max
        answer = pop(self._watching, owned_shards, messages_max=messages_max, bytes_max=bytes_max)
        self._waiting -= {queue_name(owned_shard.shard) for owned_shard in owned_shards}
        self.shard_context.observer.count("transport.pops")
        return answer

    def _keep_waiting(self, owned_shard: OwnedShard, popped: Popped) -> None:
        if popped.owned and popped.remaining:
            self._waiting.add(queue_name(owned_shard.shard))

    def _note_announced(self) -> None:
        """Take over what the watching connection is told."""
        if self._watching is not None:
            self._watching.hear()
            self._waiting |= self._watching.changed(self.shard_queues())

    def _watch(self) -> TrackingConnection:
        parameters = self._connparams()
        parameters.pop("max_connections", None)
        watching = TrackingConnection(parameters.pop("connection_class"), parameters)
        self.connection.cycle.watch(self, watching.socket)
        return watching

    def _deliver_lost_answers(self, owned_shards: Sequence[OwnedShard]) -> None:
        """After a (re)connection: deliver first what a pop moved whose answer never came."""
        for owned_shard in owned_shards:
            queue = queue_name(owned_shard.shard)
            if queue in self._unchecked:
                self._deliver_all(owned_shard, self.shard_context.messages.missing(owned_shard))
                self._unchecked.discard(queue)

    def _deliver_all(self, owned_shard: OwnedShard, deliveries: Sequence[Delivery]) -> None:
        queue = queue_name(owned_shard.shard)
        for delivery in deliveries:
            with owned_shard.delivering:
                if not owned_shard.is_open:
                    return  # its release, or its next owner, puts back in order what was not delivered
                owned_shard.delivered.add(delivery.number)
                self._deliver_one(owned_shard, queue, delivery)

    def _deliver_one(self, owned_shard: OwnedShard, queue: str, delivery: Delivery) -> None:
        try:
            envelope = self._envelope(delivery.raw, queue, tag_of(owned_shard.shard, delivery.number))
        except Exception as error:  # noqa: BLE001 - e.g. RecursionError: no message may end a worker
            shape = f"no envelope, {type(error).__name__}, {len(delivery.raw)} bytes"
            self.shard_context.refuse(Refused(shape, owned_shard, delivery.number))
        else:
            try:
                self._deliver(queue, envelope)
            except (RedisError, OSError):
                owned_shard.delivered.discard(delivery.number)  # so that the next round finds it, too
                raise

    def _deliver(self, queue: str, envelope: dict[str, Any]) -> None:
        try:
            self.connection._callbacks[queue](envelope)
        except (RedisError, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - a fault of ours must not end the queue, nor lose the message
            self.shard_context.observer.count("transport.deliveries.failed")
            message = f"a delivery from {queue} failed; the message stays unacknowledged"
            log(logger, logging.ERROR, "delivery.fault", message, {"queue": queue}, error)

    def _envelope(self, raw: bytes, queue: str, tag: str) -> dict[str, Any]:
        """Decode a message's envelope; where it lay and what its tag is, we know better than what it says."""
        envelope: dict[str, Any] = json.loads(raw.decode())
        properties, headers = envelope["properties"], envelope["headers"]
        if not isinstance(headers, dict) or not isinstance(headers.get("task", ""), str):
            raise TypeError("headers")
        if "compression" in headers:  # no producer of ours does, and kombu would unpack without a bound
            raise TypeError("compression")
        if len(raw) > HEAD_BYTES_MAX and len(dumps([headers, properties])) > HEAD_BYTES_MAX:
            raise TypeError("headers")
        envelope["body"] = self.decode_body(envelope["body"], properties.pop("body_encoding", None))
        properties["delivery_tag"] = tag
        properties["reply_to"] = reply_channel(properties.get("reply_to"))
        properties["delivery_info"] = {"exchange": "", "routing_key": queue}
        return envelope


class ShardTransport(kombu_redis.Transport):
    """kombu's Redis transport with our channel and poller; ``transport_for`` makes the one of a process."""

    Channel = ShardChannel
    shard_context: ShardContext
    address: RedisUrl

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cycle = ShardPoller()  # type: ignore[assignment]  # as kombu's own does

    def register_with_event_loop(self, connection: Connection, loop: Hub) -> None:
        """Join Celery's event loop."""
        super().register_with_event_loop(connection, loop)
        loop.call_repeatedly(LOOK_AGAIN_S, self._look_again)
        loop.call_repeatedly(TRY_AGAIN_S, self._try_again)

    def _try_again(self) -> None:
        for channel in list(self.channels or ()):
            channel.try_again()

    def _look_again(self) -> None:
        for channel in list(self.channels or ()):
            channel.look_again()


def transport_for(shard_context: ShardContext, address: RedisUrl) -> type[ShardTransport]:
    """Return the transport of one worker process.

    A class of its own and not a transport option: ``celery inspect conf`` sends the options over the wire.
    """
    return type("ShardTransport", (ShardTransport,), {"shard_context": shard_context, "address": address})
