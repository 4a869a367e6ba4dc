"""Objects in a store that memrepo did not write and does not know: how many, and the first of their names."""

from __future__ import annotations

from dataclasses import dataclass, field

from memrepo.wording import counted
from memrepo_worker.store.interface import ListedObject

_NAMES_MAX = 3


@dataclass(slots=True)
class Foreign:
    """Foreign objects, summed up; ``names`` are the keys of the first. They harm nobody: all pass them over."""

    count: int = 0
    bytes: int = 0
    names: list[str] = field(default_factory=list)

    def add(self, item: ListedObject) -> None:
        """Count an object in."""
        self.count += 1
        self.bytes += item.size
        if len(self.names) < _NAMES_MAX:
            self.names.append(item.key)

    def __str__(self) -> str:
        """Return a line about them, for people."""
        more = f" and {self.count - len(self.names):,} more" if self.count > len(self.names) else ""
        named = ", ".join(self.names)
        objects = counted(self.count, "object", by_thousands=True)
        return f"{objects} of {self.bytes:,} bytes not written by memrepo: {named}{more}"
