"""Each file and folder of a warm copy, spoilt in each way, under each operation.

The product is made from what lies in a warm copy and from the table of operations, so that new files and operations
join by themselves. Every tenth case of it runs each time, spread over all pairs; LONG=1 runs all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from memrepo.settings import environment
from memrepo.wire.operations import OPERATIONS
from tests.damage.memory import Observed, ask, copied, observe, worker_at
from tests.damage.ways import WAYS

EVERY = 1 if environment().get("LONG") == "1" else 10
pytestmark = pytest.mark.timeout(600 if EVERY == 1 else 120)


def parts_of(memory: Path) -> list[Path]:
    """Return what the copy is made of, from its own folder down."""
    (slot,) = (memory / "cache").iterdir()
    parts = sorted(path.relative_to(memory) for path in slot.rglob("*"))
    packs = [part for part in parts if part.suffix in (".pack", ".idx")]
    assert len(packs) >= 4, "the history is to lie in several packs"
    return parts


def cases(memory: Path, way: str, operation: str) -> Iterator[Path]:
    place = list(WAYS).index(way) * 3 + list(OPERATIONS).index(operation)
    return (part for number, part in enumerate(parts_of(memory), place) if number % EVERY == 0)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("way", WAYS)
def test_the_answer_is_a_healthy_workers_and_one_try_heals(
    way: str, operation: str, memory: Path, healthy: Callable[[str], Observed], tmp_path: Path
) -> None:
    for number, part in enumerate(cases(memory, way, operation)):
        with copied(memory, tmp_path / str(number)) as folder:
            WAYS[way](folder / part)

            with worker_at(folder) as one:
                seen = observe(one, folder, operation)
                counted = one.counters.snapshot()
                ask(one, operation)
                assert one.counters.snapshot().get("repo.healed") == counted.get("repo.healed"), part
            assert seen == healthy(operation), part
            assert counted.get("repo.healed", 0) <= 1, part

            with worker_at(folder) as next_one:
                assert ask(next_one, operation) == seen.again, part


def test_the_samples_reach_what_lies_in_the_copy(healthy: Callable[[str], Observed]) -> None:
    """Most of what is asked is answered with a result, and is not refused for what it names."""
    refused = {
        operation
        for operation in OPERATIONS
        if isinstance(answer := healthy(operation).answer, tuple) and isinstance(answer[0], type)
    }
    assert refused <= {"create_repo", "create_branch"}
