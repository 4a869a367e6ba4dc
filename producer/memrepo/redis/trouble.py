"""What stands between a client and Redis: which server, what it means, and the error that says so to the caller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from memrepo.errors import BrokerUnavailableError, MemoryRepoBusyError, MemoryRepoError
from memrepo.installed import install_command
from memrepo.redis.address import RedisUrl
from memrepo.redis.errors import FULL, LIBRARY, Action, Meaning

MAY_BE_ENQUEUED = "may_be_enqueued"
"""The detail of an error that says: it was given up, and may be in its queue, or applied, all the same."""

Role = Literal["broker", "result store"]


class SentRequest(Protocol):
    """What an error says of the request that it stopped."""

    MUTATES: ClassVar[bool]

    @property
    def request_id(self) -> str:
        """The id under which it may be sent again."""


@dataclass(frozen=True, slots=True)
class Server:
    """One of the two servers of a client; they may be one and the same."""

    role: Role
    url: RedisUrl

    def __str__(self) -> str:
        return f"The {self.role} at {self.url}"


@dataclass(frozen=True, slots=True)
class Trouble:
    """What a try has met."""

    server: Server
    meaning: Meaning
    cause: BaseException

    def error(self, request: SentRequest | None = None) -> MemoryRepoError:
        """Return the error for what no further try is made of."""
        details = {} if request is None else {"request_id": request.request_id}
        error: MemoryRepoError
        if self.meaning.is_(LIBRARY):
            reason = f"{_stopped(self.meaning.reason)} Install memrepo anew, with what it asks for: {install_command()}"
            error = MemoryRepoError(f"{reason[0].upper()}{reason[1:]}.", details)
        else:
            refuses = self.meaning.action is Action.REFUSE
            able = "used" if refuses or self.meaning.action is Action.WAIT else "reached"
            mends = " No waiting mends that." if refuses else ""
            text = f"{self.server} cannot be {able}: {_stopped(self._reason)}{mends}{_advice(request)}"
            error = BrokerUnavailableError(text, details)
        error.__cause__ = self.cause
        return error

    def too_late(self, request: SentRequest, timeout_s: float) -> MemoryRepoError:
        """Return the error for a request that was not taken in time, where this was met last."""
        is_full = self.meaning.is_(FULL) and self.server.role == "broker"
        kind = MemoryRepoBusyError if is_full else BrokerUnavailableError
        error = _too_late(self.server, request, timeout_s, self._reason, kind)
        error.__cause__ = self.cause
        return error

    @property
    def _reason(self) -> str:
        """What the caller is told, who sees the cause itself anyway."""
        known = self.meaning.action is not Action.REPORT
        return self.meaning.reason if known else f"{self.meaning.reason}: {self.cause}"


def no_answer(server: Server, request: SentRequest, timeout_s: float) -> MemoryRepoError:
    """Return the error for a request that was not taken in time by a server that has said nothing yet."""
    reason = (
        "no answer yet, to a connection or to the look-up of its name; "
        "where this machine is busy, MEMREPO_ENQUEUE_TIMEOUT_S may be too short"
    )
    return _too_late(server, request, timeout_s, reason)


def not_durable(server: Server, request: SentRequest) -> BrokerUnavailableError:
    """Return the error for a request that a server took, and was not as sure of in time as it should be."""
    text = f"{server} took the request, and did not say in time that it is safe there: it may be enqueued."
    details = {"request_id": request.request_id, MAY_BE_ENQUEUED: True}
    return BrokerUnavailableError(f"{text}{_advice(request)}", details)


def _too_late(
    server: Server,
    request: SentRequest,
    timeout_s: float,
    reason: str,
    kind: type[MemoryRepoError] = BrokerUnavailableError,
) -> MemoryRepoError:
    missed = "take the request" if server.role == "broker" else "answer"
    text = f"{server} did not {missed} within {timeout_s:g} s: {_stopped(reason)}{_advice(request)}"
    return kind(text, {"request_id": request.request_id})


def _advice(request: SentRequest | None) -> str:
    """Say how to send a write again; a read is simply asked again."""
    if request is None or not request.MUTATES:
        return ""
    return f" Sending it again with the same request id, {request.request_id}, is safe."


def _stopped(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."
