"""Python's garbage collection as other threads feel it: while it looks at all objects, none of them has the lock."""

from __future__ import annotations

import gc


def freeze_heap() -> int:
    """Leave what there is now out of every later collection; return how many objects those are.

    What a worker has loaded when it is ready stays until it ends: some 115,000 objects, of which the SDKs' and Celery's
    are the most. A full collection looks at all of them, 30 ms in which no thread goes on, and comes whenever a request
    has made a quarter as many that last a while, as a walk of 100,000 paths does. Once a process: what is frozen and
    refers to itself is never freed.
    """
    gc.collect()
    gc.freeze()
    return gc.get_freeze_count()
