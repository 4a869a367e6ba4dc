"""The only place that builds a key: where an agent's journal lies in the store."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ENTRY = re.compile(r"journal/([0-9]{20})\.bundle\Z")
_BASE = re.compile(r"base/([0-9]{20})\.bundle\Z")
SEQ_MAX = 10**15
"""A number that no journal comes to: with one above it, nothing can follow."""

_MISSING_MAX = 1_000_000

_AGENT = re.compile(r"([^/]+)/([^/]+)/repo\.git/")
_SEGMENT = re.compile(r"segment/([0-9]{20})-([0-9]{20})\.bundle\Z")
_ACCELERATOR = re.compile(r"(?:base/|segment/[0-9]{20}-)([0-9]{20})\.(?:bundle|idx)\Z")

_OF_GIT = re.compile(
    r"(?:(?:[A-Z]+_)?HEAD|[A-Z]+_[A-Z]+|config|config\.worktree|description|packed-refs|index|shallow|gc\.log|gc\.pid)"
    r"(?:\.lock)?\Z|(?:refs|objects|info|hooks|logs|branches|worktrees|modules)/"
)

CONTENT_BYTES_MIN = 100
"""Fewer bytes under the key of a base or segment are a reservation (``journal.fence``), which readers pass over."""


def is_stray(seq: int, expected: int) -> bool:
    """Whether an entry's number is none that one can have where ``expected`` is the next: it does not belong there.

    With up to a million entries missing before it, these may be what was lost.
    """
    return not expected <= seq <= min(expected + _MISSING_MAX, SEQ_MAX)


@dataclass(frozen=True, slots=True)
class Layout:
    """The keys of one agent. ``prefix`` ends with a slash; ids were validated, so none can reach another's."""

    prefix: str

    @classmethod
    def of(cls, org_id: str, agent_id: str) -> Layout:
        """Return the layout of an agent, under the prefix that the legacy layout has."""
        return cls(f"{org_id}/{agent_id}/repo.git/")

    @staticmethod
    def of_org(org_id: str) -> str:
        """Return the prefix of all agents of an org, each of whom has a folder there."""
        return f"{org_id}/"

    @staticmethod
    def of_agent(org_id: str, agent_id: str) -> str:
        """Return the prefix of all that lies in an agent's folder, also beside the journal's."""
        return f"{org_id}/{agent_id}/"

    @staticmethod
    def ids_of(key: str) -> tuple[str, str] | None:
        """Return the ids of the org and agent under whose prefix a key lies, or None; they may be any text."""
        match = _AGENT.match(key)
        return (match[1], match[2]) if match else None

    @property
    def journal(self) -> str:
        """The prefix of all entries."""
        return f"{self.prefix}journal/"

    @property
    def bases(self) -> str:
        """The prefix of all bases."""
        return f"{self.prefix}base/"

    @property
    def legacy_head(self) -> str:
        """A file that every repository in the legacy layout has, and no journal."""
        return f"{self.prefix}HEAD"

    @property
    def segments(self) -> str:
        """The prefix of all segments."""
        return f"{self.prefix}segment/"

    def entry(self, seq: int) -> str:
        """Return the key of an entry; entries count from 1."""
        return f"{self.journal}{seq:020d}.bundle"

    def base(self, seq: int) -> str:
        """Return the key of the base that stands for everything up to ``seq``."""
        return f"{self.bases}{seq:020d}.bundle"

    def segment(self, first: int, last: int) -> str:
        """Return the key of the segment that stands for the entries ``first`` to ``last``."""
        return f"{self.segments}{first:020d}-{last:020d}.bundle"

    def place_of(self, seq: int, *, in_base: bool) -> str:
        """Return the key of an entry or base; without a number, the prefix of all entries."""
        if not seq:
            return self.journal
        return self.base(seq) if in_base else self.entry(seq)

    def entry_seq(self, key: str) -> int | None:
        """Return the number of the entry that a key names, or None for any other key; it may be any of 20 digits."""
        return self._number(_ENTRY, key)

    def base_seq(self, key: str) -> int | None:
        """Return the number of the base that a key names, or None for any other key; it may be any of 20 digits."""
        return self._number(_BASE, key)

    def segment_seqs(self, key: str) -> tuple[int, int] | None:
        """Return the first and last entry of the segment that a key names, or None for any other key."""
        match = _SEGMENT.match(key.removeprefix(self.prefix)) if key.startswith(self.prefix) else None
        return (int(match[1]), int(match[2])) if match else None

    def accelerator_seq(self, key: str) -> int | None:
        """Return the last entry that a base or segment (or the index beside it) stands for, or None."""
        return self._number(_ACCELERATOR, key)

    def is_foreign(self, key: str) -> bool:
        """Whether a key under the prefix is none of the journal's: a file of the legacy layout."""
        return not key.startswith((self.journal, self.bases, self.segments))

    def is_index(self, key: str) -> bool:
        """Whether it is the index beside a base or segment."""
        return key.endswith(".idx") and self.accelerator_seq(key) is not None

    def is_unknown(self, key: str) -> bool:
        """Whether a key under the prefix is neither the journal's nor one that git has in a repository's folder."""
        if self.is_foreign(key):
            return _OF_GIT.match(key.removeprefix(self.prefix)) is None
        return self.entry_seq(key) is None and self.accelerator_seq(key) is None

    def _number(self, pattern: re.Pattern[str], key: str) -> int | None:
        match = pattern.match(key.removeprefix(self.prefix)) if key.startswith(self.prefix) else None
        return int(match[1]) if match else None
