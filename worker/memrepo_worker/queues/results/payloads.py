"""Large requests and results: where this worker finds the ones and puts the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from pydantic import JsonValue
from redis import Redis

from memrepo.errors import InvalidRequestError, MemoryRepoBusyError, MemoryRepoError, TooLargeError
from memrepo.limits import KIB, MIB, Limits
from memrepo.redis.trouble import Role
from memrepo.wire.keys import OWNERS_KEY, record_key
from memrepo.wire.operations import Operation
from memrepo.wire.payload import LARGE_BYTES, BrokenPayloadError, Payload, PayloadClaim
from memrepo.wire.payload_store import (
    Fence,
    FencedError,
    PayloadStore,
    Share,
    ShareFullError,
    request_payload,
    result_payload,
)
from memrepo.wire.record import claiming
from memrepo_worker.bounds import AGENT_RESULTS_BYTES
from memrepo_worker.group import Agent, Outcome, Success
from memrepo_worker.observe import Observer
from memrepo_worker.queues.leases.owned import OwnedShard
from memrepo_worker.queues.results.scripts import PUT_UNTOLD

COMPRESSED_FROM_BYTES = MIB
"""A result is fetched at once, mostly: to compress a smaller one takes longer than it saves."""

READ_APART_FROM_BYTES = 8 * KIB
"""A larger result of a read is not in its record, which is kept for an hour: it is counted, and goes soon."""

EncodedResult = JsonValue | Payload | MemoryRepoError
"""What a record says of an outcome; of a payload its value, whose text is written already."""

UntilDone = Callable[[Callable[..., Any], tuple[Any, ...], Role], Any]
"""Repeats a step while the server of that role is away."""


class MayHavePayload(Protocol):
    """A job whose request may have a payload."""

    @property
    def id(self) -> str:
        """Its task id."""
        ...

    @property
    def claim(self) -> PayloadClaim | None:
        """How to get the payload, if there is one."""
        ...

    @property
    def agent(self) -> Agent | None:
        """Whose memory it is about, once that is known."""
        ...


class Answered(MayHavePayload, Protocol):
    """A job whose result may have one."""

    @property
    def owned_shard(self) -> OwnedShard:
        """Under which ownership its message was delivered."""
        ...


def size_bytes_max(limits: Limits) -> int:
    """Return how large a payload may be: contents and paths keep a request's limit, JSON takes less than as much."""
    return 2 * limits.request_bytes_max


def values_max(limits: Limits) -> int:
    """Return how many values the JSON of a request may hold: a change takes about ten, and a list of paths no more."""
    return 100_000 + 50 * limits.changes_max


@dataclass(frozen=True, slots=True)
class KeepingRules:
    """How payloads are kept: what all on one server may take, what one agent's results may, and for how long.

    ``kept_at`` is the result store's address without a password, for whoever looks for a result elsewhere.
    ``together``: it is the broker's database.
    """

    bytes_max: int
    agent_results_bytes_max: int
    result_kept_s: int
    kept_at: str = ""
    together: bool = True


class Payloads:
    """The payloads of requests on the broker, and those of results. All methods wait until Redis answers."""

    def __init__(
        self,
        broker: Redis,
        results: Redis,
        until_done: UntilDone,
        limits: Limits,
        observer: Observer,
        rules: KeepingRules,
    ) -> None:
        self._rules = rules
        self._requests = PayloadStore(broker, rules.bytes_max, values_max(limits))
        self._results = PayloadStore(results, rules.bytes_max)
        self._until_done = until_done
        self._limits = limits
        self._observer = observer

    def fetch(self, job: MayHavePayload) -> Payload:
        """Return the payload of a job's request; an empty one if it has none.

        Raises:
            PayloadMissingError: it is not there.
            InvalidRequestError: it is not what the message says.
        """
        if job.claim is None:
            return Payload({})
        try:
            payload: Payload = self._until_done(
                self._requests.get, (request_payload(job.id), job.claim), "broker"
            )
        except BrokenPayloadError as error:
            raise InvalidRequestError.of("body", f"is {error}") from None
        return payload

    def remove(self, jobs: Sequence[MayHavePayload]) -> None:
        """Remove the payloads of requests that are settled."""
        self._remove([job.id for job in jobs if job.claim is not None])

    def remove_unread(self, task_ids: Sequence[str]) -> None:
        """Remove the payloads that the requests of messages may have, which nobody has read."""
        self._remove(task_ids)

    def _remove(self, task_ids: Sequence[str]) -> None:
        if task_ids:
            names = [request_payload(task_id) for task_id in task_ids]
            self._until_done(self._requests.remove, (names,), "broker")

    def encode_result(self, job: Answered, operation: Operation[Any, Any], outcome: Outcome) -> EncodedResult:
        """Return what a job's record says: an error, a JSON value, or how to get a large result.

        A large result for which there is no room is told in the record, unless it is a read's: that can be repeated.
        """
        if isinstance(outcome, MemoryRepoError):
            return outcome
        payload = outcome.payload or operation.result_to_payload(outcome.value)
        apart_from = LARGE_BYTES if operation.request.MUTATES else READ_APART_FROM_BYTES
        if payload.size_bytes <= apart_from:
            return operation.result_to_json(outcome.value) if payload.contents else payload
        if payload.size_bytes > size_bytes_max(self._limits) and not operation.request.MUTATES:
            return _too_large(self._limits)
        return self._put_apart(job, operation, outcome, payload)

    def _put_apart(
        self, job: Answered, operation: Operation[Any, Any], outcome: Success, payload: Payload
    ) -> EncodedResult:
        put = partial(
            self._results.put,
            compress=payload.size_bytes > COMPRESSED_FROM_BYTES,
            anew=True,
            share=Share(str(job.agent or ""), self._rules.agent_results_bytes_max),
            fence=self._fence(job),
        )
        try:
            kept = (result_payload(job.id), payload, self._rules.result_kept_s)
            claim = self._until_done(put, kept, "result store")
        except FencedError:
            # Nobody reads this one: what was told stays, and who has lost the shard tells nothing.
            claim = PayloadClaim(chunks=1, size_bytes=payload.size_bytes)
        except ShareFullError:
            self._observer.count(AGENT_RESULTS_BYTES)
            if operation.request.MUTATES:
                return operation.result_to_json(outcome.value)
            return _too_many(self._rules.agent_results_bytes_max)
        except MemoryRepoBusyError as error:
            # Others have filled it: what may travel in the record does, so that they harm none that reads little.
            small = payload.size_bytes <= LARGE_BYTES
            return operation.result_to_json(outcome.value) if small or operation.request.MUTATES else error
        return claiming(claim, self._rules.kept_at)

    def _fence(self, job: Answered) -> Fence:
        """Keep a worker that was frozen from putting its result in the place of the one that was told meanwhile.

        Two servers cannot be asked in one step: there the result store knows only of what was told.
        """
        owners = (OWNERS_KEY,) if self._rules.together else ()
        return Fence(
            PUT_UNTOLD, (record_key(job.id), *owners), (job.owned_shard.shard, job.owned_shard.token)
        )


def _too_many(bytes_max: int) -> MemoryRepoError:
    return MemoryRepoBusyError(
        f"the results of this agent that were fetched lately, or never, take agent_results_bytes_max ({bytes_max} "
        "bytes): fetch what you ask for, wait a minute, then send again",
        {"agent_results_bytes_max": bytes_max},
    )


def _too_large(limits: Limits) -> MemoryRepoError:
    return TooLargeError.of(
        "result",
        f"is larger than request_bytes_max ({limits.request_bytes_max} bytes) allows: ask for less at once",
    )
