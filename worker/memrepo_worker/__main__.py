"""``python -m memrepo_worker``: the worker's commands alone."""

from __future__ import annotations

from memrepo.cli import Commands
from memrepo_worker.cli import ROWS

if __name__ == "__main__":
    Commands("memrepo-worker", rows=ROWS)(prog_name="memrepo-worker")
