"""A pace that counts how often its thread gives way: how long that takes is the machine's doing, how often is not."""

from __future__ import annotations

from typing_extensions import override

from memrepo_worker.threads.giving_way import Pace


class CountedSteps(Pace):
    """Rests never; ``count`` says how many steps there were."""

    def __init__(self) -> None:
        super().__init__(lambda: False)
        self.count = 0

    @override
    def step(self) -> None:
        self.count += 1
