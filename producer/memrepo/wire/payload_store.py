"""Where payloads wait: chunks under expiring keys of Redis, and a count of how much they take in all.

A name is ``request:TASK-ID`` or ``result:TASK-ID``. The same payload put twice is there once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from memrepo.errors import MemoryRepoBusyError
from memrepo.json_text import VALUES_MAX
from memrepo.redis.script import Argument, Script, lua
from memrepo.wire.keys import PAYLOADS_BYTES_KEY, PAYLOADS_UNTIL_KEY, payload_key
from memrepo.wire.payload import CHUNK_BYTES_MAX, BrokenPayloadError, Payload, PayloadClaim, decode, encode

if TYPE_CHECKING:
    from redis import Redis

_FORGET = lua(__package__, "payload_forget")


def put_script(first: str = "") -> Script:
    """Return the step that writes one chunk, if what comes ``first`` lets it: see ``Fence``."""
    return Script(first + _FORGET + lua(__package__, "payload_put"))


_TAKEN, _NO_SHARE, _FENCED = -1, -2, -3
"""What that step answers, besides how many bytes are taken where there is no room."""

_GET = Script(lua(__package__, "payload_get"))

_KEEP = Script(_FORGET + lua(__package__, "payload_keep"))


class PayloadMissingError(LookupError):
    """The payload is not there: used up, expired, or lost by the server."""


def request_payload(task_id: str) -> str:
    """Return the name of the payload of a task's request."""
    return f"request:{task_id}"


def result_payload(task_id: str) -> str:
    """Return the name of the payload of a task's result."""
    return f"result:{task_id}"


class ShareFullError(Exception):
    """The payloads of one agent take all that they may."""


class FencedError(Exception):
    """A payload is not to be written any more."""


class Fence(NamedTuple):
    """What forbids a payload to be written, looked at in the same step as each of its chunks is written.

    The first part of its ``script`` finds ``keys`` from KEYS[4] and ``args`` from ARGV[9] on, and returns -3 where
    nothing is to be written.
    """

    script: Script
    keys: tuple[Argument, ...] = ()
    args: tuple[Argument, ...] = ()


_NO_FENCE = Fence(put_script())


class Share(NamedTuple):
    """Whose payload it is, and how many bytes all of theirs on the server may take."""

    owner: str
    bytes_max: int


_NOBODYS = Share("", 0)


class PayloadStore:
    """The payloads on one server. Every method may raise ``redis.RedisError``; doing it again is safe."""

    def __init__(self, client: Redis, bytes_max: int, values_max: int = VALUES_MAX) -> None:
        """``bytes_max`` is what the chunks of all payloads on the server may take together.

        ``values_max`` is how many values the JSON of one that is fetched may hold.
        """
        self._values_max = values_max
        self._bytes_max = bytes_max
        self._client = client

    def put(
        self,
        name: str,
        payload: Payload,
        keep_s: int,
        *,
        compress: bool = True,
        anew: bool = False,
        share: Share = _NOBODYS,
        fence: Fence = _NO_FENCE,
    ) -> PayloadClaim:
        """Store a payload, and return how to claim it.

        ``anew``: it may differ from one of the same name that is there.

        Raises:
            MemoryRepoBusyError: there is no room; nothing of it is left.
            ShareFullError: there is none for its owner; likewise.
            FencedError: the fence forbids it; what there is of that name is somebody else's.
        """
        count = 0
        keys = (PAYLOADS_BYTES_KEY, PAYLOADS_UNTIL_KEY, payload_key(name), *fence.keys)
        for chunk in encode(payload, compress=compress):
            is_first = int(anew and count == 0)
            args = (name, count, chunk, self._bytes_max, keep_s, is_first, *share, *fence.args)
            taken = int(fence.script.run(self._client, keys, args))
            if taken == _FENCED:
                raise FencedError(name)
            if taken != _TAKEN:
                raise (
                    ShareFullError(share.owner) if taken == _NO_SHARE else _no_room(taken, self._bytes_max)
                )
            count += 1
        return PayloadClaim(chunks=count, size_bytes=payload.size_bytes)

    def get(self, name: str, claim: PayloadClaim) -> Payload:
        """Return a payload.

        Raises:
            PayloadMissingError: it, or a part of it, is not there.
            BrokenPayloadError: it is not what the claim says.
        """
        if claim.chunks > 1 + 2 * claim.size_bytes // CHUNK_BYTES_MAX:
            raise BrokenPayloadError("more chunks than it can have")
        return decode(self._chunks(name, claim.chunks), claim.size_bytes, self._values_max)

    def keep(self, names: Sequence[str], keep_s: int) -> None:
        """Keep payloads for that long from now on."""
        if names:
            keys = [PAYLOADS_BYTES_KEY, PAYLOADS_UNTIL_KEY, *map(payload_key, names)]
            _KEEP.run(self._client, keys, [keep_s, *names])

    def remove(self, names: Sequence[str]) -> None:
        """Remove payloads, if they are there."""
        self.keep(names, 0)

    def _chunks(self, name: str, count: int) -> Iterator[bytes]:
        for number in range(count):
            chunk = _GET.run(self._client, [payload_key(name)], [number, CHUNK_BYTES_MAX])
            if chunk is None:
                raise PayloadMissingError(name)
            yield chunk


def _no_room(taken: int, limit: int) -> MemoryRepoBusyError:
    return MemoryRepoBusyError(
        f"Large requests and results take {taken} bytes on the broker, and may take bodies_bytes_max ({limit}). "
        "Wait, then send again.",
        {"bodies_bytes": taken, "bodies_bytes_max": limit},
    )
