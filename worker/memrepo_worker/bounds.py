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
    ``walk_entries_max``: how many entries of folders, and how many commits, one request may have looked at. An entry
    with a long path counts as several, one more for each 256 characters.
    ``compared_bytes_max``: how many bytes of a file's two states may differ for their lines to be compared; of larger
    ones all lines count, and the result says that its counts are not exact.
    ``edited_bytes_max``: how many bytes of files the edits of one commit may go through, each file once per edit.
    ``fork_bytes_max``: how large the entry may be with which a fork begins, and so what it copies.
    ``hanging_turns_max``: how many turns that hang at the store may have a thread beyond ``concurrency``; and how many
    of the requests that turns ask side by side, beyond the threads that are there for these.
    ``cold_open_bytes_max``: how much of a journal is on its way while it is read; half of that may stay in memory until
    it is taken in, and what is over goes through a file on disk.
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
class CompareBounds:
    """What of comparing contents is done in this process, where it keeps Python's lock. Fixed: counts follow from it.

    ``bytes_max`` of both contents, and ``lines_max`` of both where they differ: more are compared by a process. Random
    lines of one letter, the slowest that were found, take 6 ms there; so many bytes of them took 220.
    """

    bytes_max: int = 256 * KIB
    lines_max: int = 8192


@dataclass(frozen=True)
class MergeBounds:
    """What a merge may take, and tell. Fixed: what one worker merges, every other must.

    ``file_bytes_max``: how many bytes of one file may differ from their base, on either side, for its lines to be
    merged; it holds up every thread meanwhile. ``bytes_max``: how many in all files of one merge, on both sides.
    ``bases_depth_max``: how far merge bases of merge bases are merged; behind that the oldest stands for all.
    ``hunks_lines_max``: of a conflict whose sides together differ in more lines from their base no hunks are looked
    for: that keeps Python's lock, which the merge itself does not.
    ``conflicts_told_max``, ``hunks_told_max`` of each, ``told_bytes_max``: what a refusal tells of conflicts. It stays
    in the ledger.
    """

    file_bytes_max: int = 256 * KIB
    bytes_max: int = 4 * MIB
    bases_depth_max: int = 16
    hunks_lines_max: int = 2 * CompareBounds.lines_max
    conflicts_told_max: int = 100
    hunks_told_max: int = 20
    told_bytes_max: int = 64 * KIB


@dataclass(frozen=True)
class SharingBounds:
    """How the agents of one process share Python's lock, threads and store. Fixed, and each number measured.

    ``heavy_requests``, ``heavy_bytes``: a group of so many requests, or that weighs so much, may compute for longer
    than a small commit takes in all, so its turn is heavy. So is an agent's whose turns have used more of a processor
    than ``heavy_share``, and ``heavy_burst_s`` on top. Of what it has used no more than ``heavy_account_s_max`` counts:
    the others came first all the while. Without that bound a memory that had just got 10,000 commits rested in each
    read of 200 files and each commit for some minutes, for 3 ms and more.
    ``heavy_at_once_bytes``: while heavy groups that are served weigh so much together, no other begins, whether light
    turns come or not: each takes some five times that in memory. Those that hang at the store do not count.
    ``light_s``: a turn that seemed light makes rests, too, once it has computed for so long.
    ``shared_s``: how long after the last light turn the next is expected. While light turns come:
    ``rest_ratio``: heavy turns rest so many times as long as they have computed, all of them together. None rests
    longer than ``turn_rest_s_max`` between two turns, or counts more than ``step_rest_s_max`` for one step of a
    turn: what it did in that nobody can part, and others wait for it, too.
    ``step_s``: how long a thread computes until it rests; sooner, and what it costs to switch threads would count.
    ``piece_bytes``: how much is copied, hashed or compressed in one step.
    ``sent_bytes_per_s``: how much heavy turns send to the store together. Beside a put of 28 MiB each second, as
    quick as it goes (0.3 s), one of 2 KB takes SeaweedFS 111 ms (p95), and 9 ms alone; beside one at 64 MiB/s 11 to
    15 ms, at 32 MiB/s 12.
    ``switch_interval_s``: after how long a thread that computes lets the lock go while any turn is heavy. Python's
    own is 5 ms. A small commit lets the lock go some ten times, for Redis, the store and the disk, and waits so
    long each time to have it back. While nobody computes, a short one only costs: 5 % of a worker's time per small
    commit.
    ``fetches_max``: how many requests to the store of turns that ask for many at once are under way. While light turns
    come, those of one turn are as many as keep its share of a processor busy, by how long they wait and compute, and
    ``fetches_shared_min`` at least: three at a store that answers in 2 ms, all of them where it takes 20.
    ``round_messages_max``, ``round_bytes_max``: how many messages are taken in a round, of all queues that wait
    alike: reading them is work of one thread, and who sends one message meanwhile waits for the round to end.
    ``git_niceness``, ``upkeep_niceness``: how far git of requests and of upkeep stands back behind the threads that
    serve. With 5 it has a third of their weight where both want a core: so contents of one agent that take much
    comparing keep no other waiting, and a memory that git opens still comes to its end.
    """

    heavy_requests: int = 16
    heavy_bytes: int = MIB
    heavy_share: float = 0.1
    heavy_burst_s: float = 0.05
    heavy_account_s_max: float = 1.0
    heavy_at_once_bytes: int = 48 * MIB
    light_s: float = 0.02
    shared_s: float = 0.25
    rest_ratio: float = 1.0
    turn_rest_s_max: float = 2.0
    step_s: float = 0.001
    step_rest_s_max: float = 0.02
    piece_bytes: int = 64 * KIB
    sent_bytes_per_s: int = 32 * MIB
    switch_interval_s: float = 0.001
    fetches_max: int = 16
    fetches_shared_min: int = 2
    round_messages_max: int = 8
    round_bytes_max: int = MIB
    git_niceness: int = 5
    upkeep_niceness: int = 10


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
