"""The ledger: which requests a journal has settled, and how.

One line each, ``request_id digest verdict sha enqueued_at [detail]``, separated by single spaces. ``verdict`` is
``committed``, ``unchanged``, ``deleted``, ``done``, or the class name of the error that was given; ``sha`` is the
commit it is about, or zeros; ``enqueued_at`` (seconds since 1970-01-01 UTC, with milliseconds) says how long the
line must be kept; ``detail`` is JSON without line breaks: an error's message and details, or what no commit shows later
(``_DETAILS``).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from memrepo.errors import MemoryRepoError, RequestExpiredError, from_wire
from memrepo.json_text import read_json
from memrepo.limits import KEPT_HORIZONS
from memrepo_worker.bounds import LedgerBounds
from memrepo_worker.git.objects import NULL_SHA

COMMITTED = "committed"
UNCHANGED = "unchanged"
DELETED = "deleted"
DONE = "done"
_SUCCESSES = {COMMITTED, UNCHANGED, DELETED, DONE}

_LINE = re.compile(
    r"([A-Za-z0-9][A-Za-z0-9_-]{7,63}) ([0-9a-f]{32}) ([A-Za-z]{1,64}) ([0-9a-f]{40}) ([0-9]{1,12}\.[0-9]{3})"
    r"(?: (\{.*\}))?\n\Z"
)
_CHAR_BYTES_MAX = 16  # of a character as JSON, and to spare
_PLAIN_BYTES = 180  # the longest line without a detail
_SEEN_BITS = 1 << 23  # 1 MiB; of 400,000 ids 2 % fall together with another
_DETAILS: Mapping[str, type] = {
    "message": str,
    "details": dict,
    "new_branch": bool,
    "rebased_from": str,
    "merged_into": str,
}

BRANCH_BEGUN: Mapping[str, Any] = {"new_branch": True}
"""The detail of a commit that began its branch: no commit shows that later, and who asks again gets the same answer."""


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """What became of one request."""

    request_id: str
    digest: str
    verdict: str
    enqueued_at: float
    sha: str = NULL_SHA
    detail: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_error(cls, request_id: str, digest: str, enqueued_at: float, error: MemoryRepoError) -> LedgerLine:
        """Return the line of a request that failed on the state it met; what it tells is cut where it is too long."""
        detail: Mapping[str, Any] = {"message": error.message, "details": error.details}
        if len(json.dumps(detail)) > LedgerBounds.line_bytes_max:
            detail = {
                "message": error.message[: LedgerBounds.line_bytes_max // _CHAR_BYTES_MAX],
                "details": {},
            }
        return cls(request_id, digest, type(error).__name__, enqueued_at, detail=detail)

    @property
    def error(self) -> MemoryRepoError | None:
        """The error that was given, or None for a success."""
        if self.verdict in _SUCCESSES:
            return None
        return from_wire(self.verdict, self.detail.get("message", self.verdict), self.detail.get("details"))

    @property
    def may_come_again(self) -> bool:
        """Whether a later entry may have it once more: a message that is too old is refused in the same words again.

        What is as old as that is forgotten soon, and nothing was changed by it.
        """
        return self.verdict == RequestExpiredError.__name__

    @property
    def new_branch(self) -> bool:
        """Whether a commit began its branch."""
        return self.verdict in _SUCCESSES and self.detail.get("new_branch") is True

    @property
    def bytes_about(self) -> int:
        """About how long it is, written."""
        return len(str(self)) if self.detail else _PLAIN_BYTES

    def __str__(self) -> str:
        head = f"{self.request_id} {self.digest} {self.verdict} {self.sha} {self.enqueued_at:.3f}"
        return f"{head} {json.dumps(self.detail, sort_keys=True)}" if self.detail else head


def encode_lines(lines: Iterable[LedgerLine]) -> bytes:
    """Return the ledger blob of these lines."""
    return "".join(f"{line}\n" for line in lines).encode()


def decode_lines(data: bytes) -> tuple[LedgerLine, ...]:
    """Return the lines of a ledger blob.

    Raises:
        ValueError: it is not one.
    """
    return tuple(decode_each(BytesIO(data)))


def lines_to_keep(lines: Iterable[LedgerLine], now_s: float, horizon_s: float) -> Iterator[LedgerLine]:
    """Yield the lines that some message may still ask for, in order, of each id the last.

    What is older than twice the horizon goes, as where a warm repository forgets; and the newest delete stays. The
    lines are gone through three times, and of them only what says that an id may be there twice is kept in memory.
    """
    newest_s, seal, often = -math.inf, -1, _SeenOften()
    for number, line in enumerate(lines):
        newest_s = max(newest_s, line.enqueued_at)
        seal = number if line.verdict == DELETED else seal
        often.see(line.request_id)
    oldest_s = min(now_s, newest_s) - KEPT_HORIZONS * horizon_s
    last = {line.request_id: number for number, line in enumerate(lines) if line.request_id in often.ids}
    for number, line in enumerate(lines):
        is_last = last.get(line.request_id, number) == number
        if number == seal or (line.enqueued_at >= oldest_s and is_last):
            yield line


class _SeenOften:
    """The ids that were seen twice, all of them, and a few others."""

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self._seen = bytearray(_SEEN_BITS // 8)

    def see(self, request_id: str) -> None:
        place, bit = divmod(hash(request_id) % _SEEN_BITS, 8)
        if self._seen[place] >> bit & 1:
            self.ids.add(request_id)
        self._seen[place] |= 1 << bit


def decode_each(lines: Iterable[bytes]) -> Iterator[LedgerLine]:
    """Yield the lines of a ledger one by one; raises as ``decode_lines``."""
    for number, line in enumerate(lines, start=1):
        found = _LINE.match(line.decode())
        if found is None:
            raise ValueError(f"line {number} of a ledger is no such line")
        request_id, digest, verdict, sha, enqueued_at, rest = found.groups()
        detail = _detail(rest, number) if rest else {}
        yield LedgerLine(request_id, digest, verdict, float(enqueued_at), sha, detail)


def _detail(text: str, number: int) -> Mapping[str, Any]:
    detail = read_json(text)
    if not isinstance(detail, dict) or any(
        not isinstance(detail.get(name, kind()), kind) for name, kind in _DETAILS.items()
    ):
        raise ValueError(f"line {number} of a ledger has a detail of another form")
    return detail
