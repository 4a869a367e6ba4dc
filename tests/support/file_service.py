"""A service that keeps what it did in files, durably and once per request id, as the journal does.

One file per agent, one line per commit. A store's delay and its durability are real: each group takes ``delay_s``
and ends with an fsync. A read answers how many commits there were.

The store refuses agents whose id begins with ``refused``, and leaves those that begin with ``hangs`` without an answer,
while there is no file ``mended``.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memrepo.wire.requests.writes import CommitRequest
from memrepo_worker.group import Agent, Group, Outcome, Success
from memrepo_worker.observe import store_wait
from memrepo_worker.store.interface import RefusedError
from tests.support.fake_service import commit_result


@dataclass(frozen=True)
class FileService:
    """Settles groups in files below ``folder``."""

    folder: Path
    delay_s: float

    def __call__(self, group: Group) -> Sequence[Outcome]:
        """Settle a group; what an earlier call settled is not done again."""
        group.confirm()
        time.sleep(self.delay_s)
        self._be_in_trouble(group.agent.agent_id)
        with _locked(self.folder / f"{group.agent.agent_id}.log") as file:
            known = file.read_text().split()
            new: list[str] = []
            outcomes: list[Outcome] = []
            for request in group.requests:
                if isinstance(request, CommitRequest):
                    if request.request_id not in known and request.request_id not in new:
                        new.append(request.request_id)
                    outcomes.append(Success(commit_result(request)))
                else:
                    outcomes.append(Success(str(len(known) + len(new))))
            _append(file, new)
        return outcomes

    def _be_in_trouble(self, agent_id: str) -> None:
        mended = self.folder / "mended"
        with store_wait():
            while agent_id.startswith("hangs") and not mended.exists():
                time.sleep(0.05)
        if agent_id.startswith("refused") and not mended.exists():
            raise RefusedError("AccessDenied (403)")

    def log(self, agent: Agent) -> list[str]:
        """Return the ids of an agent's commits, in order."""
        file = self.folder / f"{agent.agent_id}.log"
        return file.read_text().split() if file.exists() else []


@contextmanager
def _locked(file: Path) -> Iterator[Path]:
    """Stand in for the conditional create: one writer at a time, in any process."""
    with file.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield file


def _append(file: Path, lines: list[str]) -> None:
    if lines:
        with file.open("a") as handle:
            handle.write("".join(f"{line}\n" for line in lines))
            handle.flush()
            os.fsync(handle.fileno())


def file_service(argument: dict[str, Any]) -> FileService:
    """Build it from a JSON argument."""
    return FileService(Path(argument["folder"]), argument["delay_s"])
