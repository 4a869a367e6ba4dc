"""A named pipe in the place of a file, put there while a worker runs, has no turn wait for whoever may open it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.damage.memory import Observed, ask, copied, worker_at
from tests.damage.test_every_damage_by_every_operation import parts_of
from tests.damage.ways import WAYS

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize("operation", ["get_files", "search", "find_request", "preview_merge", "commit"])
def test_no_turn_waits_for_it(
    operation: str, memory: Path, healthy: Callable[[str], Observed], tmp_path: Path
) -> None:
    files = [part for part in parts_of(memory) if (memory / part).is_file()]
    assert len(files) >= 10
    for number, part in enumerate(files):
        with copied(memory, tmp_path / str(number)) as folder, worker_at(folder) as one:
            ask(one, "list_files")
            WAYS["a_pipe"](folder / part)
            one.warm().recent.forget()

            assert ask(one, operation) == healthy(operation).answer, part
