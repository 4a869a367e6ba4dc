"""How a commit is named, as in git: a branch, a tag, ``HEAD``, a sha or its beginning; ``@{time}`` and ``~n`` follow.

A time is of the commits: ``main@{2026-11-26T12:00:00Z}`` is the newest commit of ``main``, by first parents, that was
committed at that time or before.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

SHORT_SHA_MIN = 7
"""How many digits of a sha are enough to name a commit, if no other commit begins with them."""

TIME_FORM = "2026-11-26T12:00:00Z"
"""What a time looks like, by an example; there may be a fraction, and an offset in place of ``Z``."""

_STEPS = re.compile(r"(?:~[0-9]{0,9}){1,16}\Z")
_SHA = re.compile(r"[0-9a-f]{40}\Z")
_SHORT_SHA = re.compile(rf"[0-9a-f]{{{SHORT_SHA_MIN},39}}\Z")
_AT = re.compile(r"(.*)@\{([^{}]{1,40})\}\Z", re.DOTALL)
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?(?:Z|[+-]\d{2}:\d{2})\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Ref:
    """What a text names: go to ``name``, then back to what it was at a time, then to the first parent so many times.

    ``at`` is in seconds since 1970-01-01 UTC, or None.
    """

    name: str
    generations: int = 0
    at: float | None = None

    @classmethod
    def parse(cls, text: str) -> Ref:
        """Part a text into name, time and steps: ``main~2`` and ``main~~`` are two before ``main``, ``main~`` is one.

        What is not well formed behind a ``~`` or an ``@`` stays in the name, which no branch can have.
        """
        name, tilde, rest = text.partition("~")
        steps = 0
        if tilde:
            if not _STEPS.match(tilde + rest):
                return cls(text)
            steps = sum(int(count or 1) for count in rest.split("~"))
        found = _AT.match(name)
        if found is None:
            return cls(name, steps)
        at = _seconds(found[2])
        return cls(text) if at is None else cls(found[1], steps, at)

    @property
    def is_sha(self) -> bool:
        """Whether the name is a whole sha: never taken for a branch."""
        return _SHA.match(self.name) is not None

    @property
    def is_short_sha(self) -> bool:
        """Whether the name may be the beginning of a sha; a branch or tag of that name goes first, as in git."""
        return _SHORT_SHA.match(self.name) is not None


def _seconds(text: str) -> float | None:
    """Return the time that a text names, None where it is none; one without an offset would be anybody's guess."""
    if not _TIME.match(text):
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        return None
