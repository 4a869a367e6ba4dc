"""``memrepo replay`` as a user runs it, against a running worker."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.commands import Ended, memrepo
from tests.support.systems import System


def replay(system: System, folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Ended:
    return memrepo(
        "replay", *arguments, folder=folder, env={"MEMREPO_BROKER_URL": system.broker_url, **(env or {})}
    )


def report(ended: Ended) -> dict[str, Any]:
    assert ended.code == 0, ended.stdout + ended.stderr
    return dict(json.loads(ended.stdout))
