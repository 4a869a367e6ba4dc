"""``python -m memrepo_worker``: the worker's commands alone."""

from __future__ import annotations

from memrepo.cli.main import Commands
from memrepo_worker.cli.entry import ROWS

if __name__ == "__main__":
    Commands("memrepo-worker", rows=ROWS)(prog_name="memrepo-worker")
