"""Celery's consumer as we have it: how it comes back to a broker, and what becomes of messages that are no requests.

Those (forged, broken, or of a task that nobody knows) may not stop a queue. Celery would log their bodies; here they
end as a failed job where they have an id, and as a counter and a log line that says their shape.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown
from kombu.connection import Connection
from kombu.message import Message
from redis import RedisError
from typing_extensions import override

from memrepo.redis.errors import Action, NotPrimaryError, meaning_of
from memrepo.redis.reconnecting import require_primary
from memrepo.wire.operations import TASK_PREFIX
from memrepo_worker.queues.leases import deliverable
from memrepo_worker.queues.transport.messages import TEXT_CHARS_MAX, Refused, is_text, read_tag
from memrepo_worker.trouble import LastingTrouble

if TYPE_CHECKING:
    from memrepo_worker.queues.consumer.intake import Intake
    from memrepo_worker.queues.leases.deliverable import Deliverable

logger = logging.getLogger(__name__)

_PRIMARY_PAUSE_S = 0.5
_REFUSED_PAUSE_S = 1.0
_CONTENT_TYPE_MAX = 100


def refuse(consumer: MemrepoConsumer, message: Message, cause: BaseException | None) -> None:
    """Have the message's job failed, if it names one, and the message removed. Waits for nothing."""
    shard, number = read_tag(message.delivery_tag) or (None, "")
    owned_shard = None if shard is None else consumer.intake.owned_shards.get(shard)
    if shard is None:  # of a queue that is no shard's: kombu's own
        message.reject_log_error(logger, consumer.connection_errors)
    elif owned_shard is None:
        return  # lost since it was delivered: the message is its new owner's
    why = type(cause).__name__ if cause is not None else "no task"
    content_type = message.content_type if isinstance(message.content_type, str) else "no content type"
    size_bytes = len(message.body or "")
    consumer.intake.refusals.refuse(
        Refused(
            f"{why}, {size_bytes} bytes, {content_type[:_CONTENT_TYPE_MAX]}",
            owned_shard,
            number,
            task_id_of(message) or "",
            _task_name(message),
            (message.properties or {}).get("reply_to") or "",
            size_bytes,
        )
    )


def _task_name(message: Message) -> str:
    """Return the name of a task as a message has it, where it looks like one: it may hold anything."""
    headers = message.headers
    name = headers.get("task") if isinstance(headers, dict) else None
    return name if isinstance(name, str) and re.fullmatch(r"[\w.]{1,100}", name, re.ASCII) else "unknown"


def task_id_of(message: Message) -> str | None:
    """Return the id of the job that a message names, if it is one by which a record can be kept."""
    headers = message.headers
    task_id = headers.get("id") if isinstance(headers, dict) else None
    return task_id if is_text(task_id, TEXT_CHARS_MAX) else None


def _not_primary(conn: Connection) -> BaseException | None:
    """Return why a server that is reached cannot be worked with yet, or None.

    A replica would refuse what Celery begins with.
    """
    channel: Any = conn.default_channel
    try:
        require_primary(channel.client.execute_command("HELLO"))
    except NotPrimaryError as error:
        return error
    except (RedisError, OSError) as error:
        return error if meaning_of(error).action is Action.CONNECT_ANEW else None
    return None


class MemrepoConsumer(Consumer):
    """Celery's consumer, except that what it cannot read is refused by shape instead of logged in full.

    It also comes back to a broker that was away within two seconds; Celery's own waits grow to thirty.
    """

    intake: Intake
    """Set by that step of ours."""

    deliverable: Deliverable
    end_in_order: Callable[[], None]
    """Set by the step that owns the keeper, both."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._away = LastingTrouble(logger, "broker.trouble")
        self._refused = LastingTrouble(logger, "broker.refuses")
        super().__init__(*args, **kwargs)

    @override
    def stop(self) -> None:
        """End for good.

        Celery has the steps close by themselves, but none of them where one has not begun: so while the broker is away.
        """
        self.end_in_order()
        super().stop()

    @property
    def _broker(self) -> str:
        return f"the broker at {self.app.broker_address}"

    def ensure_connected(self, conn: Connection) -> Connection:
        """Connect to a primary, however long it takes, unless the worker is told to end."""
        while True:
            conn.ensure_connection(
                self._note_away,
                interval_start=0.1,
                interval_step=0.3,
                interval_max=2,
                callback=maybe_shutdown,
            )
            error = _not_primary(conn)
            if error is None:
                break
            self._note_away(error, _PRIMARY_PAUSE_S)
            conn.collect()
            time.sleep(_PRIMARY_PAUSE_S)
            maybe_shutdown()
        self._away.over()
        self.first_connection_attempt = False
        return conn

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Tell that the connection was lost; Celery's own line of it is not shown.

        What the server refuses, a new connection does not mend: it is tried again slowly, until somebody does.
        """
        meaning = meaning_of(exc)
        self.deliverable.meet(deliverable.CONNECTION, meaning)
        if meaning.action is Action.CONNECT_ANEW:
            self._away.met(f"{self._broker} is away: {meaning.reason}", cause=exc)
        else:
            self._refused.met(f"{self._broker} cannot be used: {meaning.reason}", cause=exc)
            time.sleep(_REFUSED_PAUSE_S)
        super().on_connection_error_after_connected(exc)

    def loop_args(self) -> tuple[object, ...]:
        """Note that everything has begun: Celery asks for this last."""
        self._refused.over()
        return super().loop_args()

    def _note_away(self, error: BaseException, interval_s: float) -> None:
        meaning = meaning_of(error)
        self.deliverable.meet(deliverable.CONNECTION, meaning)
        reason = f"{self._broker} is away: {meaning.reason}"
        self._away.met(reason, f"next try in {interval_s:.1f} s", {"next_try_s": interval_s}, error)

    def update_strategies(self) -> None:
        """Take only our own tasks: Celery's (``celery.chord_unlock``, ``celery.map``, …) would send further ones."""
        super().update_strategies()
        for name in [name for name in self.strategies if not name.startswith(TASK_PREFIX)]:
            del self.strategies[name]

    @override
    def on_unknown_message(self, body: object, message: Message) -> None:
        refuse(self, message, None)

    @override
    def on_unknown_task(self, body: object, message: Message, exc: BaseException) -> None:
        refuse(self, message, exc)

    @override
    def on_invalid_task(self, body: object, message: Message, exc: BaseException) -> None:
        refuse(self, message, exc)

    @override
    def on_decode_error(self, message: Message, exc: BaseException) -> None:
        refuse(self, message, exc)
