"""A program that folds the agent of ``writers`` in a folder store, and says how much memory that took.

``python -m tests.support.folding_program STORE SCRATCH [WARM]``; ``WARM`` is a folder of objects to build on.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

from memrepo_worker.git.pack_files import link_packs
from memrepo_worker.git.packed.mapping import limit_open_packs
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.upkeep.folding import Known
from tests.support.folding import folder
from tests.support.writers import AGENT


def peak_bytes() -> int:
    """Return the most that this program has had in memory; what ``getrusage`` says begins with its parent's."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def main(store: str, scratch: str, warm: str = "") -> None:
    """Fold, and print a line of JSON."""

    def link(place: Path) -> bool:
        if warm:
            names = [path.stem for path in Path(warm, "pack").glob("*.idx")]
            link_packs(Path(warm), names, place / "objects")
        return bool(warm)

    limit_open_packs(64)
    known = Known(link)
    before = peak_bytes()
    done = folder(LocalStore(Path(store)), Path(scratch)).fold(AGENT, known=known)
    git = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(
        json.dumps(
            {"taken": peak_bytes() - before, "git": git, "made": len(done.made), "folded": done.folded}
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
