"""The entry of a worker process in tests: like the real one, but the handler is named by the test."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

from memrepo.limits import Limits
from memrepo_worker.app import Supervised, run_worker
from memrepo_worker.logs import configure
from memrepo_worker.observe import Counters
from memrepo_worker.settings import WorkerSettings


def main() -> int:
    """Run a worker as the JSON argument says."""
    job = json.loads(sys.argv[1])
    values = job["settings"]
    settings = WorkerSettings(
        **{**values, "limits": Limits(**values["limits"]), "cache_dir": Path(values["cache_dir"])}
    )
    configure(settings.log)
    module, _, name = job["handler"].partition(":")
    counters = Counters()
    handler = getattr(import_module(module), name)(job["argument"])
    supervised = Supervised() if job.get("supervised") else None
    return run_worker(settings, handler, counters, name=job["name"], supervised=supervised)


if __name__ == "__main__":
    sys.exit(main())
