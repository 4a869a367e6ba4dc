"""The result backend: Celery's on Redis, with one round trip per group and the first final result winning.

Select it with ``memrepo_worker.queues.results.backend:ResultBackend+redis://…``.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from typing import Any, TypeVar

from celery import states
from celery.backends.redis import RedisBackend
from kombu.utils.functional import retry_over_time
from redis import Redis, RedisError
from typing_extensions import override

from memrepo.clock import system_clock
from memrepo.errors import MemoryRepoError, StoreUnavailableError
from memrepo.limits import MARKS_SPAN_S, RECORD_KEPT_S
from memrepo.redis.errors import OTHER_TYPE, UNSENDABLE, Action, meaning_of
from memrepo.redis.reconnecting import reconnecting
from memrepo.redis.script import Answer, Argument, Script
from memrepo.redis.trouble import Role
from memrepo.wire import record
from memrepo.wire.cancellation import cancel, mark_of
from memrepo.wire.keys import ENDED_PREFIX, OWNERS_KEY
from memrepo.wire.operations import OPERATIONS, TASK_PREFIX
from memrepo.wire.payload import Payload
from memrepo_worker.queues.leases.deliverable import ANSWERS, Deliverable
from memrepo_worker.queues.leases.owned import OwnedShard
from memrepo_worker.queues.results.records import NO_MARK, StoredResult, Waiting
from memrepo_worker.queues.results.scripts import (
    FAIL_ALL,
    FINISH,
    REFUSE,
    STORE_PROGRESS,
    STORE_RESULTS,
    TAKE_BACK,
)
from memrepo_worker.queues.script_call import ScriptCall, run_script
from memrepo_worker.queues.scripts import settled, shard_keys
from memrepo_worker.queues.transport.messages import Messages, Refused
from memrepo_worker.trouble import LastingTrouble

logger = logging.getLogger(__name__)

T = TypeVar("T")

URL_PREFIX = "memrepo_worker.queues.results.backend:ResultBackend+"
"""Put before a ``redis://`` URL, it makes Celery use this backend."""

KEEP_TRYING = {"max_retries": None, "interval_start": 0, "interval_step": 0.2, "interval_max": 2}
"""A result must not be lost because Redis is away: while it is, we wait (see ``kombu``'s retry policies)."""

WRONG_VALUE_TRIES_MAX = 4
"""So often a step is tried that meets a value of another kind in a key: it may be gone with the next one's write."""

_ABORTED = "ABORTED"
"""What ``celery.contrib.abortable`` stores of a task that shall end."""

NO_RECORD = "memrepo:none"
"""Where a script takes the key of a record, and there is none."""


class ResultBackend(RedisBackend):
    """Stores what became of requests, in Celery's own form, and tells whoever waits.

    The first result (SUCCESS, FAILURE) stays, and no progress state overwrites it or REVOKED. No traceback is stored.
    All methods but ``cancel`` wait until Redis takes the write.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._thread = threading.local()
        self._started_heads: dict[str, str] = {}
        self.deliverable = Deliverable()
        self._away: Mapping[Role, LastingTrouble] = {
            "result store": LastingTrouble(logger, "results.trouble"),
            "broker": LastingTrouble(logger, "broker.steps.trouble"),
        }

    @override
    def _create_client(self, **params: Any) -> Redis:
        return reconnecting(super()._create_client(**params), self.app.results_address)

    @override
    def get_key_for_task(self, task_id: str, key: str = "") -> bytes:
        """Return the key of a task's record; Celery's own way takes six steps to it."""
        prefix: bytes = self.task_keyprefix
        return prefix + f"{task_id}{key}".encode()

    @override
    def store_result(
        self,
        task_id: str,
        result: object,
        state: str,
        traceback: object = None,  # stays in the worker
        request: object = None,
        **_: object,
    ) -> object:
        """Store one state of a task; a result is published on its own and on the request's reply channel.

        REVOKED is a wish, whoever in Celery has it: the record decides. So is ABORTED.
        """
        encoded = self.encode_result(result, state)
        reply_to = getattr(request, "reply_to", None) or ""
        if state in (states.REVOKED, _ABORTED):
            self.until_done(self.cancel, (task_id, reply_to))
            return encoded
        if state not in states.READY_STATES:
            self._store_progress([Waiting(task_id, reply_to)], self._head(result, state))
            return encoded
        self._keep(task_id, self._meta(task_id, encoded, state, request), request)
        return encoded

    def _keep(self, task_id: str, meta: bytes | str, request: object) -> None:
        """Store a final result, or have it collected with others."""
        stored = StoredResult(
            self.get_key_for_task(task_id),
            meta,
            getattr(request, "reply_to", None) or "",
            mark_of(task_id) if _writes(request) else NO_MARK,
        )
        outbox: list[StoredResult] | None = getattr(self._thread, "outbox", None)
        if outbox is not None:
            outbox.append(stored)
        else:
            self.store_all([stored])

    def store_written(self, task_id: str, payload: Payload, request: object) -> None:
        """Store the result of a task that succeeded as ``store_result`` does; its JSON is written already."""
        try:
            result = payload.text.encode()
        except UnicodeEncodeError:  # halves of characters have a form as ASCII alone
            self.store_result(task_id, payload.value, states.SUCCESS, request=request)
            return
        meta = self._fields(task_id, None, states.SUCCESS, request)
        del meta["result"]
        head = self.encode(meta).encode()
        self._keep(task_id, head[:-1] + b', "result": ' + result + b"}", request)

    @contextmanager
    def collecting(self) -> Iterator[list[StoredResult]]:
        """Within the block, final results that this thread stores are collected instead."""
        collected: list[StoredResult] = []
        self._thread.outbox = collected
        try:
            yield collected
        finally:
            self._thread.outbox = None

    def store_all(self, results: Sequence[StoredResult], tell: str = "") -> None:
        """Store and publish results; on the channel ``tell``, if there is one, that there is something new."""
        if results:
            self._run(STORE_RESULTS, [one.key for one in results], self._values(results, tell))

    def finish(
        self,
        results: Sequence[StoredResult],
        owned_shard: OwnedShard,
        numbers: Mapping[str, str],
        tell: str = "",
    ) -> bool:
        """Store and publish results as ``store_all`` and acknowledge their messages, all or nothing.

        ``numbers``: see ``Messages.acknowledge``.

        Only where the broker and the results are one database. Returns False if the shard has another owner by
        now, who will settle the requests; then nothing was done.
        """
        return bool(self._run(FINISH, *self._finishing(results, owned_shard, numbers, tell)))

    def prepare_finish(
        self,
        results: Sequence[StoredResult],
        owned_shard: OwnedShard,
        numbers: Mapping[str, str],
        tell: str = "",
    ) -> ScriptCall:
        """Write what ``finish`` sends, and send nothing; see ``ResultsAhead``."""
        return ScriptCall(self.client, FINISH, *self._finishing(results, owned_shard, numbers, tell))

    def _finishing(
        self,
        results: Sequence[StoredResult],
        owned_shard: OwnedShard,
        numbers: Mapping[str, str],
        tell: str,
    ) -> tuple[list[Argument], list[Argument]]:
        keys = [OWNERS_KEY, *shard_keys(owned_shard.shard), *(one.key for one in results)]
        fence: list[Argument] = [owned_shard.shard, owned_shard.token, *settled(numbers)]
        return keys, [*fence, *self._values(results, tell)]

    def fail(self, refused: Sequence[Refused], error: MemoryRepoError) -> list[str]:
        """Fail the jobs that these messages name, unless they are over; return for each the state that it had."""
        keys, args = self._failures(refused, error)
        return _texts(self._run(FAIL_ALL, keys, [self._keep_s, *chain(*args)]))

    def refuse(self, refused: Sequence[tuple[OwnedShard, Refused]], error: MemoryRepoError) -> list[str]:
        """Fail jobs likewise and remove their messages, as one step.

        Only where the broker and the results are one database. What belongs to another owner by now has the state LOST.
        """
        records, failures = self._failures([one for _, one in refused], error)
        keys: list[Argument] = [OWNERS_KEY]
        args: list[Argument] = [self._keep_s]
        for (owned_shard, one), key, failure in zip(refused, records, failures, strict=True):
            keys += (key, *shard_keys(owned_shard.shard))
            args += (*failure, owned_shard.shard, owned_shard.token, one.number, "")
        return _texts(self._run(REFUSE, keys, args))

    def _failures(
        self, refused: Sequence[Refused], error: MemoryRepoError
    ) -> tuple[list[Argument], list[tuple[str, str]]]:
        """Return for each message its job's record, and what is written and to whom it is told."""
        encoded = self.encode_result(error, states.FAILURE)
        values = [
            self._meta(one.task_id, encoded, states.FAILURE, None) if one.task_id else "" for one in refused
        ]
        keys: list[Argument] = [
            self.get_key_for_task(one.task_id) if one.task_id else NO_RECORD for one in refused
        ]
        return keys, [(value, one.reply_to) for value, one in zip(values, refused, strict=True)]

    def ensure_acknowledged(
        self, messages: Messages, owned_shard: OwnedShard, numbers: Mapping[str, str]
    ) -> bool:
        """Acknowledge messages on a broker that is not our database; see ``Messages.acknowledge``."""
        return self.until_done(messages.acknowledge, (owned_shard, numbers), "broker")

    def cancel(self, task_id: str, reply_to: str = "") -> bool:
        """Cancel a task unless it was started; see ``memrepo.wire.cancellation.cancel``. One try."""
        return cancel(self.client, task_id, system_clock(), reply_to)

    def has_ended(self, task_id: str) -> bool:
        """Tell of a task that was not cancelled whether it is over: its record says so, or has expired. One try."""
        found = self.client.get(self.get_key_for_task(task_id))
        read = record.read(found) if found is not None else None
        return read is None or read.final

    def store_started(self, waiting: Sequence[Waiting], worker: str) -> list[str]:
        """Mark tasks as started; return for each the state that it had before, "" for none.

        One that has ended (SUCCESS, FAILURE, REVOKED) keeps its state and must not run; whoever waits for it is told
        that again.
        """
        return self._store_progress(waiting, self._started_head(worker))

    def begin_started(self, waiting: Sequence[Waiting], worker: str) -> ScriptCall | None:
        """Send what ``store_started`` does, and do not wait for the answer; None where Redis did not take it."""
        keys, args = self._progress(waiting, self._started_head(worker))
        try:
            return ScriptCall(self.client, STORE_PROGRESS, keys, args).send()
        except (RedisError, OSError):
            return None

    def end_started(self, call: ScriptCall, waiting: Sequence[Waiting], worker: str) -> list[str]:
        """Return what ``store_started`` does, from the answer to ``begin_started``; it is done anew if that is lost.

        The call keeps its connection, which is given back where it is abandoned.
        """
        try:
            return _texts(call.answer(keeps_connection=True))
        except (RedisError, OSError):
            return self.store_started(waiting, worker)

    def take_back_started(self, one: Waiting, worker: str, before: str) -> None:
        """Have it that a task waits to be sent again by its producer, which finds it neither started nor queued.

        ``before`` is the state that ``store_started`` has found. A task that was started before then stays one that
        cannot be cancelled: that attempt may have been executed.
        """
        if before:
            self._store_progress([one], self._head(None, states.RECEIVED))
        else:
            started = _record(self._started_head(worker), one.task_id)
            self._run(TAKE_BACK, [self.get_key_for_task(one.task_id)], [started])

    def store_retrying(self, waiting: Sequence[Waiting], error: StoreUnavailableError) -> list[str]:
        """Mark tasks as waiting for the store; ``error`` says why, its details since when.

        Returns for each the state that it had before; one that has ended keeps it.
        """
        return self._store_progress(waiting, self._head(error, states.RETRY))

    def _store_progress(self, waiting: Sequence[Waiting], head: str) -> list[str]:
        return _texts(self._run(STORE_PROGRESS, *self._progress(waiting, head)))

    def _progress(self, waiting: Sequence[Waiting], head: str) -> tuple[list[Argument], list[Argument]]:
        keys: list[Argument] = [self.get_key_for_task(one.task_id) for one in waiting]
        args: list[Argument] = [max(RECORD_KEPT_S, self._keep_s)]
        for one in waiting:
            args += (_record(head, one.task_id), one.reply_to or "")
        return keys, args

    def _started_head(self, worker: str) -> str:
        """Return ``_head`` of what is started by a worker, which says no time and is the same for all."""
        head = self._started_heads.get(worker)
        if head is None:
            head = self._started_heads[worker] = self._head({"hostname": worker}, states.STARTED)
        return head

    def _head(self, result: object, state: str) -> str:
        """Write what the records of tasks have in common that differ in their ids alone."""
        fields = self._fields("", self.encode_result(result, state), state, None)
        del fields["task_id"]
        head: str = self.encode(fields)[:-1]
        return head

    def _meta(self, task_id: str, encoded: object, state: str, request: object) -> str:
        written: str = self.encode(self._fields(task_id, encoded, state, request))
        return written

    def _fields(self, task_id: str, encoded: object, state: str, request: object) -> dict[str, Any]:
        meta: dict[str, Any] = self._get_result_meta(encoded, state, None, request)
        meta["task_id"] = task_id
        task_name = getattr(request, "task", None)
        # As Celery's extended results do: who finds the job by its id knows its type.
        if task_name is not None:
            meta["name"] = task_name
        return meta

    def _run(self, script: Script, keys: Sequence[Argument], args: Sequence[Argument]) -> Answer:
        return self.until_done(run_script, (self.client, script, keys, args))

    def until_done(self, step: Callable[..., T], args: tuple[Any, ...], role: Role = "result store") -> T:
        """Repeat a step while Redis is away, full or busy: nothing else is as bad as a result that is lost.

        ``role`` says which of the two servers the step is done on. What waiting does not mend is no reason to hold a
        thread: what is of a kind that cannot be sent is raised at once, and what meets a key that holds something else
        after a few tries, as the error that it is. Then it is not known whether anything was done.
        """
        on_error = partial(self._note_away, role)
        answer: T = retry_over_time(step, (RedisError, OSError), args, {}, on_error, **KEEP_TRYING)
        self._away[role].over()
        self.deliverable.clear(ANSWERS)
        return answer

    def on_connection_error(
        self, _max_retries: int | None, exc: Exception, intervals: Iterator[float], _retries: int
    ) -> float:
        """Tell of it calmly (Celery does for each try of each thread), and return how long to wait."""
        return self._note_away("result store", exc, intervals, _retries)

    def _note_away(self, role: Role, error: Exception, intervals: Iterator[float], retries: int) -> float:
        pause_s, meaning = next(intervals), meaning_of(error)
        if meaning.is_(UNSENDABLE) or (meaning.is_(OTHER_TYPE) and retries >= WRONG_VALUE_TRIES_MAX):
            raise error
        if meaning.is_(OTHER_TYPE):
            return pause_s  # of one request's keys, and raised in the end: no reason to deliver to nobody
        if meaning.action is Action.REFUSE:
            self.deliverable.meet(ANSWERS, meaning)
        url = self.app.results_address if role == "result store" else self.app.broker_address
        reason = f"the {role} at {url} takes nothing: {meaning.reason}"
        self._away[role].met(reason, f"next try in {pause_s:.1f} s", {"next_try_s": pause_s}, error)
        return pause_s

    def _values(self, results: Sequence[StoredResult], tell: str) -> list[Argument]:
        values: list[Argument] = [self._keep_s, ENDED_PREFIX, MARKS_SPAN_S, RECORD_KEPT_S, tell]
        for one in results:
            values += (one.meta, one.reply_to, *one.mark)
        return values

    @property
    def _keep_s(self) -> int:
        return int(self.expires or 3600)


def _record(head: str, task_id: str) -> str:
    """Return the record of a task that begins with ``head``."""
    return f'{head}, "task_id": {json.dumps(task_id)}}}'


def _texts(found: Sequence[bytes]) -> list[str]:
    return [one.decode() for one in found]


def _writes(request: object) -> bool:
    """Tell whether a task is one that may change something: its cancelling must never be told after the fact."""
    operation = OPERATIONS.get(str(getattr(request, "task", "")).removeprefix(TASK_PREFIX))
    return operation is not None and operation.request.MUTATES
