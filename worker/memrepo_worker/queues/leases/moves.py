"""What changed hands in one heartbeat: told in one line, however many shards it was."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from memrepo.wording import counted
from memrepo_worker.logs import log


@dataclass
class Moves:
    """Shards that this worker took, gave up and lost.

    ``taken_over`` and ``lost`` count them by the other worker: the former owner, whose lease had run out, and the new
    one. Only those are known: who takes what is given up shows later, if at all.
    """

    taken: int = 0
    given: int = 0
    taken_over: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)

    def take(self, shards: Iterable[int], former_owners: Mapping[int, str]) -> None:
        """Note shards that were taken, by the owners that had lost them."""
        for shard in shards:
            self.taken += 1
            if shard in former_owners:
                self.taken_over[_name(former_owners[shard])] += 1

    def lose(self, shards: Iterable[int], owners: Mapping[int, str]) -> None:
        """Note shards that somebody else has taken."""
        self.lost.update(_name(owners.get(shard, "nobody")) for shard in shards)

    def tell(self, logger: logging.Logger, owned: int, total: int, others: Collection[str]) -> None:
        """Write the line, if there is anything to tell; ``others`` are the workers beside this one."""
        parts = [*self._parts(sorted(map(_name, others)))]
        if not parts:
            return
        fields = {
            "taken": self.taken,
            "taken_over": dict(self.taken_over),
            "given": self.given,
            "lost": dict(self.lost),
            "shards": owned,
            "shards_total": total,
            "workers": len(others) + 1,
        }
        level = logging.WARNING if self.lost or self.taken_over else logging.INFO
        log(logger, level, "shards.moved", f"{', '.join(parts)}: serves {owned} of {total} now", fields)

    def _parts(self, others: list[str]) -> Iterable[str]:
        free = self.taken - self.taken_over.total()
        if free:
            yield f"took {counted(free, 'shard')}"
        for owner, count in self.taken_over.items():
            yield f"took {counted(count, 'shard')} over from {owner}, whose lease had run out"
        if self.given:
            yield f"gave {counted(self.given, 'shard')} up" + (f" for {_listed(others)}" if others else "")
        for owner, count in self.lost.items():
            yield f"lost {counted(count, 'shard')} to {owner}, as the lease on them had run out"


def _name(worker: str) -> str:
    """Return a worker's name without what tells one life of it from the next."""
    return worker.rpartition("/")[0] or worker


def _listed(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{', '.join(names[:3])} and {len(names) - 3} more"
