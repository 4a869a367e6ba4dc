"""How many requests may wait: of one agent, and of all that share its shard. Used by the publisher's thread alone.

What waits is in a shard's queue, or taken from it and not settled. Of a shard the broker counts it itself; of an agent
it is counted where messages are pushed and where they are settled (``memrepo:depth:NNN``), in steps that are taken
anyway, and asked for only where so many wait in the shard that the agent could be over its bound.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from memrepo.clock import Clock
from memrepo.errors import MemoryRepoBusyError
from memrepo.redis.script import lua
from memrepo.settings import Settings
from memrepo.wire.keys import BOUNDS, REFUSED_KEY, agent_field, depths_key, read_count, unacked_key
from memrepo.wire.requests.base import Request

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import Pipeline

TRUSTED_S = 0.1
"""How long a look at a queue's depth holds; what is sent meanwhile from here is added."""

RENEWED_S = TRUSTED_S / 2
"""An older look is renewed by what is pushed next, so that who sends now and again waits for none before it."""

_COUNT = lua(__package__, "count")

Sent = tuple[str, Request]
"""A queue, and a request for it."""


@dataclass(slots=True)
class _Depth:
    looked_at_s: float
    of_all: int
    of_agents: dict[str, int] = field(default_factory=dict)
    """Of those that were asked for."""


class Depths:
    """Says whether a request may be sent."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._agent_max, self._shard_max = settings.agent_depth_max, settings.shard_depth_max
        self._clock = clock
        self._depths: dict[str, _Depth] = {}

    def forget(self) -> None:
        """Trust no earlier look: the connection was lost."""
        self._depths.clear()

    def sort(self, wanted: Sequence[Sent], client: Callable[[], Redis]) -> list[MemoryRepoBusyError | None]:
        """Return for each request in order why it may not be sent, if it may not.

        Raises:
            redis.RedisError: the broker does not answer.
        """
        if not self._agent_max and not self._shard_max:
            return [None] * len(wanted)
        self._look_at_shards({queue for queue, _ in wanted}, client)
        if self._is_far_from_all_bounds(wanted):
            return [None] * len(wanted)
        self._look_at_agents(wanted, client)
        reasons = [
            self._admit(queue, agent_field(request.org_id, request.agent_id)) for queue, request in wanted
        ]
        _count_refused(filter(None, reasons), client)
        return reasons

    def _is_far_from_all_bounds(self, wanted: Sequence[Sent]) -> bool:
        """Whether no bound could be reached by these, whoever's they are; then they are counted."""
        nearest = min(bound for bound in (self._agent_max, self._shard_max) if bound)
        depths = [self._depths[queue] for queue, _ in wanted]
        if any(depth.of_agents or depth.of_all + len(wanted) > nearest for depth in depths):
            return False
        for depth in depths:
            depth.of_all += 1
        return True

    def _admit(self, queue: str, agent: str) -> MemoryRepoBusyError | None:
        depth = self._depths[queue]
        of_agent = min(depth.of_agents.get(agent, 0), depth.of_all)  # whatever somebody has written there
        if self._agent_max and of_agent >= self._agent_max:
            return _agent_busy(of_agent, self._agent_max)
        if self._shard_max and depth.of_all >= self._shard_max:
            return _shard_busy(queue, depth.of_all, self._shard_max)
        depth.of_all += 1
        if agent in depth.of_agents:
            depth.of_agents[agent] += 1
        return None

    def _look_at_shards(self, queues: Iterable[str], client: Callable[[], Redis]) -> None:
        now_s = self._clock()
        due = [queue for queue in queues if not self._is_fresh(queue, now_s)]
        if not due:
            return
        pipeline = client().pipeline(transaction=False)
        for queue in due:
            pipeline.llen(queue)
            pipeline.hlen(unacked_key(queue))
        counts = pipeline.execute()
        for queue, waiting, taken in zip(due, counts[::2], counts[1::2], strict=True):
            self._depths[queue] = _Depth(now_s, waiting + taken)

    def _is_fresh(self, queue: str, now_s: float) -> bool:
        depth = self._depths.get(queue)
        return depth is not None and now_s - depth.looked_at_s < TRUSTED_S

    def due_to_renew(self, queues: Iterable[str]) -> list[str]:
        """Return which of these queues are to be looked at with the next push.

        Of one that is deep, whose agents were asked for one by one, all is looked at anew before it.
        """
        now_s = self._clock()
        return [
            queue
            for queue in queues
            if (depth := self._depths.get(queue)) is not None
            and not depth.of_agents
            and now_s - depth.looked_at_s >= RENEWED_S
        ]

    def note(self, queues: Sequence[str], counts: Sequence[int]) -> None:
        """Take note of how many wait in queues, as a push has found it; below 0 where that could not be told."""
        now_s = self._clock()
        for queue, count in zip(queues, counts, strict=True):
            if count >= 0:
                self._depths[queue] = _Depth(now_s, count)

    def _look_at_agents(self, wanted: Sequence[Sent], client: Callable[[], Redis]) -> None:
        """Ask how many of an agent wait, where that may matter now, and was not asked in this look at its shard."""
        if not self._agent_max:
            return
        coming = Counter(queue for queue, _ in wanted)
        asked = {(queue, agent_field(request.org_id, request.agent_id)) for queue, request in wanted}
        due: dict[str, list[str]] = {}
        for queue, agent in asked:
            depth = self._depths[queue]
            if depth.of_all + coming[queue] > self._agent_max and agent not in depth.of_agents:
                due.setdefault(queue, []).append(agent)
        if not due:
            return
        pipeline = client().pipeline(transaction=False)
        for queue, agents in due.items():
            pipeline.hmget(depths_key(queue), agents)
        for (queue, agents), counts in zip(due.items(), pipeline.execute(), strict=True):
            self._depths[queue].of_agents |= dict(zip(agents, map(read_count, counts), strict=True))


def count_in(pipeline: Pipeline, sent: Iterable[Sent], looked_at: Sequence[str] = ()) -> None:
    """Have the requests that a transaction pushes counted in it; it answers how many wait in ``looked_at``."""
    counts = Counter((depths_key(queue), agent_field(one.org_id, one.agent_id)) for queue, one in sent)
    keys = [key for key, _ in counts]
    args = [part for (_, agent), count in counts.items() for part in (agent, count)]
    keys += [key for queue in looked_at for key in (queue, unacked_key(queue))]
    pipeline.eval(_COUNT, len(keys), *keys, *args)


def _count_refused(refused: Iterable[MemoryRepoBusyError], client: Callable[[], Redis]) -> None:
    """Count requests by the bound that refused them, for whoever watches the workers: no worker hears of them."""
    counts = Counter(bound for error in refused for bound in BOUNDS if bound in error.details)
    if counts:
        pipeline = client().pipeline(transaction=False)
        for bound, count in counts.items():
            pipeline.hincrby(REFUSED_KEY, bound, count)
        pipeline.execute(raise_on_error=False)  # a server that is full takes none: the answer is the same


def _agent_busy(depth: int, limit: int) -> MemoryRepoBusyError:
    return MemoryRepoBusyError(
        f"{depth} requests of this agent wait: agent_depth_max is {limit}. Wait, then send again.",
        {"agent_depth": depth, "agent_depth_max": limit},
    )


def _shard_busy(queue: str, depth: int, limit: int) -> MemoryRepoBusyError:
    return MemoryRepoBusyError(
        f"{depth} requests wait in the queue {queue}, which this agent shares with others: shard_depth_max is "
        f"{limit}. Wait, then send again.",
        {"shard_depth": depth, "shard_depth_max": limit},
    )
