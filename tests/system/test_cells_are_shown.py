"""``memrepo cells`` beside a cell that is away: what is known of the others is what somebody wants to see then."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.commands import memrepo
from tests.support.ports import LOOPBACK, closed_port
from tests.support.systems import System


def test_the_cells_that_answer_are_shown_beside_one_that_is_away(system: System, tmp_path: Path) -> None:
    away = f"redis://{LOOPBACK}:{closed_port()}/0"
    unused = system.broker_url.removesuffix("/0")
    env = {"MEMREPO_CELLS": f"a={unused}/5 b={away} c={unused}/6"}

    words = memrepo("cells", folder=tmp_path, env=env)
    as_json = memrepo("cells", "--json", folder=tmp_path, env=env)

    lines = words.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["a", "b", "c"]
    assert lines[1] == f"b  {away}  cannot be reached"
    assert "0 workers, 0 requests" in lines[0]
    assert [one["cell"] for one in json.loads(as_json.stdout)] == ["a", "c"]
    for ended in (words, as_json):
        assert ended.code == 5
        assert f"The broker at {away} cannot be reached" in ended.stderr
