"""How a commit is named, as in git: a branch, a tag, ``HEAD``, a sha or its beginning, each with ``~n`` behind it."""

from __future__ import annotations

import re
from dataclasses import dataclass

SHORT_SHA_MIN = 7
"""How many digits of a sha are enough to name a commit, if no other commit begins with them."""

_STEPS = re.compile(r"(?:~[0-9]{0,9}){1,16}\Z")
_SHA = re.compile(r"[0-9a-f]{40}\Z")
_SHORT_SHA = re.compile(rf"[0-9a-f]{{{SHORT_SHA_MIN},39}}\Z")


@dataclass(frozen=True, slots=True)
class Ref:
    """What a text names: go to ``name``, then to the first parent ``generations`` times."""

    name: str
    generations: int = 0

    @classmethod
    def parse(cls, text: str) -> Ref:
        """Part a text into name and steps: ``main~2`` and ``main~~`` are two before ``main``, ``main~`` is one.

        What is not well formed behind a ``~`` stays in the name, which no branch can have.
        """
        name, tilde, rest = text.partition("~")
        if not _STEPS.match(tilde + rest):
            return cls(text)
        return cls(name, sum(int(count or 1) for count in rest.split("~")))

    @property
    def is_sha(self) -> bool:
        """Whether the name is a whole sha: never taken for a branch."""
        return _SHA.match(self.name) is not None

    @property
    def is_short_sha(self) -> bool:
        """Whether the name may be the beginning of a sha; a branch or tag of that name goes first, as in git."""
        return _SHORT_SHA.match(self.name) is not None
