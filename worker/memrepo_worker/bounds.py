"""What serving a request may take, so that one agent never keeps others waiting or fills the memory: the numbers.

Three modules hold upper bounds, and each is about something else:

``memrepo.limits``             what one request may hold; producer and worker both check it, before anything is done
``memrepo_worker.git.bounds``  what a git process may take on bytes that others wrote
here                           what serving requests within those limits may take of a worker

docs/operations.md lists all of them in one table ("Bounds").
"""

from __future__ import annotations

from dataclasses import dataclass

from memrepo.limits import KIB, MIB

HANGING_TURNS = "bounds.hanging_turns"
TURN_TIME = "bounds.turn_time"
TURN_RESULTS_BYTES = "bounds.turn_results_bytes"
COMPARED_BYTES = "bounds.compared_bytes"
WALK_ENTRIES = "bounds.walk_entries"
COLD_OPEN_BYTES = "bounds.cold_open_bytes"
AGENT_RESULTS_BYTES = "bounds.agent_results_bytes"
ENTRY_BYTES = "bounds.entry_bytes"
EDITED_BYTES = "bounds.edited_bytes"
FORK_BYTES = "bounds.fork_bytes"


@dataclass(frozen=True)
class Bounds:
    """Each number is a setting: ``MEMREPO_`` and its name in capitals.

    Where one is hit, the observer counts ``bounds.`` and its name without ``_max``, and what was hit says in its error
    or its result which bound that was.

    ``turn_time_s``: after how long, waiting for the store and opening the memory apart, a turn ends between two of its
    requests; the others go on in a later turn of their agent. One read that takes ten times as long fails.
    ``turn_results_bytes_max``: after how many bytes of results a turn ends likewise. One result is always taken.
    ``walk_entries_max``: how many entries of folders, and how many commits, one request may have looked at.
    ``compared_bytes_max``: how many bytes of a file's two states may differ for their lines to be compared; of larger
    ones all lines count, and the result says that its counts are not exact.
    ``edited_bytes_max``: how many bytes of files the edits of one commit may go through, each file once per edit.
    ``fork_bytes_max``: how large the entry may be with which a fork begins, and so what it copies.
    ``hanging_turns_max``: how many turns that hang at the store may have a thread beyond ``concurrency``; and how many
    of the requests that turns ask side by side, beyond the threads that are there for these.
    ``cold_open_bytes_max``: how much of a journal is on its way while it is read, and how much is taken in at a time.
    ``entry_bytes_max``: how large an entry, base or segment may be that is read, by what a listing says of it.
    ``agent_results_bytes_max``: how much the results of one agent may take in Redis besides their records.
    """

    turn_time_s: float = 2.0
    turn_results_bytes_max: int = 8 * MIB
    walk_entries_max: int = 500_000
    compared_bytes_max: int = MIB
    edited_bytes_max: int = 256 * MIB
    fork_bytes_max: int = 256 * MIB
    hanging_turns_max: int = 48
    cold_open_bytes_max: int = 16 * MIB
    entry_bytes_max: int = 1024 * MIB
    agent_results_bytes_max: int = 256 * MIB


@dataclass(frozen=True)
class MergeBounds:
    """What a merge may take, and tell. Fixed: what one worker merges, every other must.

    ``file_bytes_max``: how many bytes of one file may differ from their base, on either side, for its lines to be
    merged; it holds up every thread meanwhile. ``bytes_max``: how many in all files of one merge, on both sides.
    ``bases_depth_max``: how far merge bases of merge bases are merged; behind that the oldest stands for all.
    ``conflicts_told_max``, ``hunks_told_max`` of each, ``told_bytes_max``: what a refusal tells of conflicts. It stays
    in the ledger.
    """

    file_bytes_max: int = 256 * KIB
    bytes_max: int = 4 * MIB
    bases_depth_max: int = 16
    conflicts_told_max: int = 100
    hunks_told_max: int = 20
    told_bytes_max: int = 64 * KIB


@dataclass(frozen=True)
class LedgerBounds:
    """How large ledgers are written. Fixed, and below what readers take: an entry over that would be read by nobody.

    ``line_bytes_max``: of one request's line; what an error tells beyond it is cut off.
    ``entry_bytes_max``: after how many bytes of lines the requests of a group that are left get another entry.
    ``joined_bytes_max``: with more of them entries are not joined, since a ledger is in memory when it is taken in.
    """

    line_bytes_max: int = 128 * KIB
    entry_bytes_max: int = 8 * MIB
    joined_bytes_max: int = 256 * MIB


@dataclass(frozen=True)
class CacheLimits:
    """How much of warm repositories is kept. Each number is a setting, too: ``MEMREPO_CACHE_BYTES_MAX`` and its like.

    ``repos_max`` and ``disk_bytes_max`` are of a cache folder, whatever the number of processes that share it;
    ``memory_bytes_max`` is what the repositories may take in memory of one process.
    """

    repos_max: int = 2000
    disk_bytes_max: int = 16 * 1024 * MIB
    memory_bytes_max: int = 512 * MIB
