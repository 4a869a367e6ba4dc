"""Keeps this worker's shards: heartbeats, even shares, take-over, release. Knows no Celery."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Protocol

from redis import RedisError

from memrepo.redis.errors import RIGHTS, MissingRightsError, meaning_of
from memrepo.wording import counted
from memrepo_worker.logs import log
from memrepo_worker.observe import Observer
from memrepo_worker.queues.leases.balance import plan
from memrepo_worker.queues.leases.deliverable import ASKED, Deliverable
from memrepo_worker.queues.leases.leases import Leases, Overview
from memrepo_worker.queues.leases.moves import Moves
from memrepo_worker.queues.leases.owned import OwnedShards
from memrepo_worker.trouble import LastingTrouble

logger = logging.getLogger(__name__)

Monotonic = Callable[[], float]

OTHER_LEASE_BEATS = 3
"""So often in a row leases are met that are longer than ours, before it is told: after a clock was set back, they are
for one heartbeat, and only who lives makes them so again."""

_CLOSE_S = 0.1

RIGHTS_AGAIN_S = 2.0
"""How often it is asked for rights that are missing; of others it is once a lease: who is idle needs none of them."""


class Holder(Protocol):
    """Who has the delivered requests of a shard in hand."""

    def hand_over(self, shards: Collection[int]) -> None:
        """Let go of all requests of these shards that do not run yet."""
        ...

    def is_clear(self, shard: int) -> bool:
        """Tell whether no request of the shard is in hand any more."""
        ...

    def changed(self) -> None:
        """Note that other shards are owned now."""
        ...


@dataclass
class Keeper:
    """Runs in a thread of its own, so that neither a busy consumer nor a lost connection stops the heartbeat.

    A shard is given up in two phases: first nothing is taken from it any more and what does not run yet is let
    go; when nothing of it runs, it is released, and what was let go lies in its queue again, in order.

    While this process cannot serve (see ``Deliverable``), it gives everything up so and leaves the list of workers:
    others serve its shards. A connection that was lost costs no shard until it has stayed away for a whole lease in
    which the broker took our heartbeats. What runs may take ``running_kept_s``, if it can be answered; then its
    lease runs out.
    """

    leases: Leases
    owned_shards: OwnedShards
    holder: Holder
    count: int
    new_token: Callable[[], str]
    observer: Observer
    show_alive: Callable[[], None] = lambda: None
    deliverable: Deliverable = field(default_factory=Deliverable)
    running_kept_s: float = 30.0
    ask_rights: Callable[[], None] = lambda: None
    """Raises MissingRightsError where this worker lacks a right, or redis.RedisError."""
    monotonic: Monotonic = time.monotonic
    _rights_asked_s: float = float("-inf")
    _heard_s: float = float("inf")
    _back_since_s: float = float("-inf")
    _hindered_since_s: float | None = None
    _withdrawn_at_s: float = 0.0
    _moves: Moves = field(default_factory=Moves)
    _away: LastingTrouble = field(default_factory=lambda: LastingTrouble(logger, "broker.heartbeat"))
    _fault: LastingTrouble = field(
        default_factory=lambda: LastingTrouble(logger, "heartbeat.fault", fault=True)
    )
    _other_leases: LastingTrouble = field(default_factory=lambda: LastingTrouble(logger, "leases.differ"))
    _longer_beats: int = 0
    _withdrawn: LastingTrouble = field(default_factory=lambda: LastingTrouble(logger, "worker.withdrawn"))
    _stopped: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _others: list[str] = field(default_factory=list)

    @property
    def beat_s(self) -> float:
        """How long it is between two heartbeats."""
        return min(1.0, self.leases.lease_s / 5)

    def start(self) -> None:
        """Take this worker's share, then keep it. Starting again changes nothing."""
        if self._thread is None:
            self.beat()
            self._thread = threading.Thread(target=self._run, name="memrepo-keeper", daemon=True)
            self._thread.start()

    def beat(self) -> None:
        """Make one heartbeat: say that this worker lives, and take and give what its share asks for.

        What fails is told, once as long as it lasts, and tried again by the next beat.
        """
        self.show_alive()
        try:
            self._look_around()
        except RedisError as error:
            self.observer.count("keeper.beats.failed")
            self._hindered_since_s = None
            self._away.met(f"the broker does not take the heartbeat: {meaning_of(error).reason}", cause=error)
        except Exception as error:  # noqa: BLE001 - whatever it was: no heartbeat means no shards
            self.observer.count("keeper.faults")
            self._fault.met(f"a heartbeat fails: {type(error).__name__}", cause=error)
        else:
            self._away.over()
            self._fault.over()

    def stop(self) -> None:
        """End the heartbeat; what is owned stays owned until its lease is over or it is released."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def leave_clear(self) -> None:
        """Leave the list of workers, and give up what nothing runs of; the rest stays ours. Call it after ``stop``.

        So an idle shard is served by others at once, however long what runs of another takes.
        """
        owned_shards = self.owned_shards.all()
        clear = [shard for shard in self._leaving() if self.holder.is_clear(shard)]
        try:
            self.leases.release([owned_shards[shard] for shard in clear], leaving=True)
        except RedisError as error:
            self._away.met(f"the broker takes no shard back: {meaning_of(error).reason}", cause=error)
        else:
            self.owned_shards.end(clear)
            self.observer.count("shards.released", len(clear))

    def leave(self) -> bool:
        """Give everything up, after ``stop``, and leave the list of workers; return whether the broker took that."""
        owned_shards = self.owned_shards.all()
        self.owned_shards.close(owned_shards)
        try:
            self.leases.release(list(owned_shards.values()), leaving=True)
        except RedisError as error:
            reason = meaning_of(error).reason
            message = f"could not give {counted(len(owned_shards), 'shard')} up; the leases run out: {reason}"
            log(logger, logging.WARNING, "shards.kept", message, {"shards": len(owned_shards)}, error)
            return False
        finally:
            self.owned_shards.end(owned_shards)
        return True

    def _run(self) -> None:
        while not self._stopped.wait(self._pause_s()):
            self.beat()

    def _pause_s(self) -> float:
        return self.beat_s / 10 if self._leaving() else self.beat_s

    def _look_around(self) -> None:
        if self._owns_nothing:  # what is missing keeps it from taking any
            self._look_at_rights()
        asked_s = self.monotonic()
        hindrance = self._lasting_hindrance(asked_s)
        self._moves = Moves()
        try:
            if hindrance is not None:
                self._withdraw(hindrance, asked_s)
            else:
                self._rejoin()
                self._move(self.leases.beat(self.owned_shards.all()), asked_s)
        finally:
            if self._thread is not None or self._moves.taken_over:  # else that it is ready says it all
                self._moves.tell(logger, len(self._open()), self.count, self._others)
        # Behind what prolongs the leases, and for short: a slow answer would be time that their shards have not.
        self._look_at_rights()

    @property
    def _owns_nothing(self) -> bool:
        return not self.owned_shards.all()

    def _look_at_rights(self) -> None:
        now_s = self.monotonic()
        again_s = RIGHTS_AGAIN_S if self._withdrawn.is_there else self.leases.lease_s
        if now_s - self._rights_asked_s < again_s:
            return
        self._rights_asked_s = now_s
        try:
            self.ask_rights()
        except (MissingRightsError, RedisError) as error:  # what else is met says nothing of rights
            meaning = meaning_of(error)
            if meaning.is_(RIGHTS):
                self.deliverable.meet(ASKED, meaning)
        else:
            self.deliverable.clear(ASKED)

    def _lasting_hindrance(self, now_s: float) -> str | None:
        """Return why this process cannot serve, if that lasts."""
        hindrance = self.deliverable.hindrance
        if hindrance is None:
            self._hindered_since_s = None
            return None
        if self._hindered_since_s is None:
            self._hindered_since_s = now_s
        lasts = hindrance.lasting or now_s - self._hindered_since_s >= self.leases.lease_s
        return hindrance.reason if lasts or self._withdrawn.is_there else None

    def _withdraw(self, reason: str, asked_s: float) -> None:
        """Give up what nothing runs of, and keep the rest only until it has ended; nobody counts on us meanwhile.

        What the broker does not take back is kept no longer either: its lease runs out.
        """
        if not self._withdrawn.is_there:
            self._withdrawn_at_s = asked_s
        self._withdrawn.met(f"cannot serve, so the shards are left to other workers: {reason}")
        opened = self._open()
        self.owned_shards.close(opened)
        self.holder.hand_over(opened)
        try:
            if self.deliverable.answers and asked_s - self._withdrawn_at_s < self.running_kept_s:
                self._keep_running(asked_s)
            self._release_clear()
        finally:
            self.leases.withdraw(reason)

    def _keep_running(self, asked_s: float) -> None:
        running = {
            shard: owned_shard
            for shard, owned_shard in self.owned_shards.all().items()
            if not self.holder.is_clear(shard)
        }
        if running:
            self._lose(self.leases.beat(running, shares=False))
            self.owned_shards.extend(running, asked_s + self.leases.lease_s)

    def _rejoin(self) -> None:
        if self._withdrawn.is_there:
            self.leases.rejoin()
            self._withdrawn.over()

    def _move(self, overview: Overview, asked_s: float) -> None:
        self._others = [worker for worker in overview.workers if worker != self.leases.worker]
        self._note_heard(asked_s)
        self._note_others_leases(overview.longest_s)
        self._lose(overview)
        self.owned_shards.extend(self.owned_shards.all(), asked_s + self.leases.lease_s)
        self._release_clear()
        moves = plan(
            self.leases.worker, overview.workers, overview.owners, self.count, leaving=self._leaving()
        )
        self._give(moves.give)
        self._take(self._takeable(moves.take, overview, asked_s), overview, asked_s)

    def _note_heard(self, now_s: float) -> None:
        """Note that the broker answers; and since when it does, where it had not for a whole lease."""
        if now_s - self._heard_s > self.leases.lease_s:
            self._back_since_s = now_s
        self._heard_s = now_s

    def _note_others_leases(self, longest_s: float) -> None:
        """Tell where other workers have longer leases: each takes what it meets for as long as its own."""
        lease_s = self.leases.lease_s
        self._longer_beats = self._longer_beats + 1 if longest_s > lease_s + _CLOSE_S else 0
        if self._longer_beats >= OTHER_LEASE_BEATS:
            self._other_leases.met(
                f"MEMREPO_LEASE_S is {lease_s:g} here, and longer for other workers of this broker: it must be the "
                "same for all, or shards move without need; restart those that have another"
            )
        elif not self._longer_beats:
            self._other_leases.over()

    def _open(self) -> list[int]:
        return [shard for shard, owned_shard in self.owned_shards.all().items() if owned_shard.is_open]

    def _leaving(self) -> list[int]:
        return [shard for shard, owned_shard in self.owned_shards.all().items() if not owned_shard.is_open]

    def _lose(self, overview: Overview) -> None:
        """Note what somebody took: our lease had run out."""
        shards = overview.lost
        if shards:
            self._moves.lose(shards, {**overview.expired, **overview.owners})
            self.observer.count("shards.lost", len(shards))
            # First closed: else a message that is on its way to the mailbox comes there behind its hand-over, and is
            # executed here before those that the new owner has of its agent.
            self.owned_shards.close(shards)
            self.owned_shards.end(shards)
            self.holder.hand_over(shards)
            self.holder.changed()

    def _give(self, shards: Collection[int]) -> None:
        if shards:
            self.owned_shards.close(shards)
            self.holder.hand_over(shards)
            self._release_clear()

    def _release_clear(self) -> None:
        owned_shards = self.owned_shards.all()
        clear = [shard for shard in self._leaving() if self.holder.is_clear(shard)]
        if clear:
            self.leases.release([owned_shards[shard] for shard in clear])
            self.owned_shards.end(clear)
            self._moves.given += len(clear)
            self.observer.count("shards.released", len(clear))
            self.holder.changed()

    def _takeable(self, shards: Collection[int], overview: Overview, now_s: float) -> list[int]:
        """Leave out expired ones until their owners had a lease's time to beat, where they could not before.

        That is where the broker was started, or did not answer us: it was away, or another is in its place by now.
        """
        lease_s = self.leases.lease_s
        if overview.expired.keys().isdisjoint(shards):
            return list(shards)
        if now_s - self._back_since_s > lease_s and self._broker_age_s() > lease_s:
            return list(shards)
        return [shard for shard in shards if shard not in overview.expired]

    def _broker_age_s(self) -> float:
        return float(self.leases.server_age_s())

    def _take(self, shards: Collection[int], overview: Overview, asked_s: float) -> None:
        if not shards:
            return
        taken = self.leases.take(list(shards), self.new_token)
        for shard, token in taken.items():
            self.owned_shards.begin(shard, token, asked_s + self.leases.lease_s)
        if taken:
            self._moves.take(taken, overview.expired)
            self.observer.count("shards.taken", len(taken))
            self.holder.changed()
