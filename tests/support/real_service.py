"""The real service for worker processes of tests: by default a local folder as the store, as far away as told."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from memrepo.clock import system_clock
from memrepo_worker.assembly import open_service
from memrepo_worker.group import GroupHandler
from memrepo_worker.observe import Counters
from memrepo_worker.settings import WorkerSettings
from memrepo_worker.store.open import open_store
from memrepo_worker.upkeep.runner import UpkeepRunner
from tests.support.delayed_store import DelayedStore
from tests.support.folding import small_runs
from tests.support.hooked_store import HookedStore
from tests.support.refusing_store import RefusingStore

_OPEN = ExitStack()
"""What stays open until the process ends."""


def real_service(argument: dict[str, Any]) -> GroupHandler:
    """Build it from a JSON argument.

    ``folder``, ``store_url``; ``delay_s`` of every request to the store; of the first entry alone, how long it is on
    its way there (``way_s``) and how long its answer (``answer_s``); ``now_s`` where time stands still; with ``folds``
    it folds what it appends to, in runs of a few entries. A file ``refuses`` in the folder says whom the store refuses
    (see ``tests.support.refusing_store``).
    """
    folder = Path(argument["folder"])
    store_url = argument.get("store_url") or (folder / "store").as_uri()
    settings = WorkerSettings(store_url=store_url, cache_dir=folder / "cache" / str(os.getpid()))
    opened = RefusingStore(open_store(store_url), folder / "refuses")
    store = HookedStore(DelayedStore(opened, argument["delay_s"]))
    store.before_put = partial(time.sleep, argument.get("way_s", 0))
    store.after_put = partial(time.sleep, argument.get("answer_s", 0))
    now_s = argument.get("now_s")
    clock = system_clock if now_s is None else lambda: float(now_s)
    upkeep = None
    if argument.get("folds"):
        _OPEN.enter_context(small_runs())
        upkeep = UpkeepRunner(Counters())
    return _OPEN.enter_context(open_service(settings, Counters(), store=store, clock=clock, upkeep=upkeep))
