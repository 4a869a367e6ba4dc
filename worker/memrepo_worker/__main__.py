"""``python -m memrepo_worker``: the worker's commands alone."""

from __future__ import annotations

from memrepo.cli.interrupt import claim_process
from memrepo.cli.main import Commands
from memrepo.cli.streams import occupy_closed_numbers
from memrepo_worker.cli.entry import ROWS

if __name__ == "__main__":
    claim_process()
    occupy_closed_numbers()
    Commands("memrepo-worker", rows=ROWS)(prog_name="memrepo-worker")
