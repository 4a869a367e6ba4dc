"""What serving a request may take, so that one agent never keeps others waiting or fills the memory: the numbers.

Three modules hold upper bounds, and each is about something else:

``memrepo.limits``             what one request may hold; producer and worker both check it, before anything is done
``memrepo_worker.git.bounds``  what a git process may take on bytes that others wrote
here                           what serving requests within those limits may take of a worker

docs/operations.md lists all of them in one table ("Bounds").
"""

from __future__ import annotations

from dataclasses import dataclass

WALK_ENTRIES = "bounds.walk_entries"


@dataclass(frozen=True, slots=True)
class Bounds:
    """Each number is a setting: ``MEMREPO_`` and its name in capitals.

    Where one is hit, the observer counts ``bounds.`` and its name without ``_max``, and what was hit says in its error
    or its result which bound that was.

    ``walk_entries_max``: how many entries of folders, and how many commits, one request may have looked at.
    ``hanging_turns_max``: how many turns that hang at the store may have a thread beyond ``concurrency``.
    """

    walk_entries_max: int = 500_000
    hanging_turns_max: int = 48
