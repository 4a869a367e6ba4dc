"""The way out: what the mailbox says of parked requests becomes the state of Celery tasks."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from operator import attrgetter

from celery.states import READY_STATES, REVOKED

from memrepo.errors import (
    InvalidRequestError,
    JobCancelledError,
    MemoryRepoError,
    StoreUnavailableError,
)
from memrepo.limits import Limits
from memrepo.wire.payload_store import BodyMissingError
from memrepo_worker.group import Outcome
from memrepo_worker.observe import Observer, TurnTimes
from memrepo_worker.queues.consumer.ended import request_ended, share_s
from memrepo_worker.queues.consumer.task_request import Job, Parcel
from memrepo_worker.queues.leases.owned import Tenure
from memrepo_worker.queues.leases.shards import Shards
from memrepo_worker.queues.results.backend import ResultBackend, StoredResult, Waiting
from memrepo_worker.queues.results.payloads import Bodies
from memrepo_worker.trouble import WaitReason

logger = logging.getLogger(__name__)


class Desk:
    """Answers requests, a group at a time.

    ``shards`` is None where the broker's database keeps the results too: then result and acknowledgement are one
    step.
    """

    def __init__(
        self,
        backend: ResultBackend,
        bodies: Bodies,
        limits: Limits,
        shards: Shards | None,
        worker: str,
        observer: Observer,
    ) -> None:
        self._backend = backend
        self._bodies = bodies
        self._limits = limits
        self._shards = shards
        self._worker = worker
        self._observer = observer
        self._pid = os.getpid()

    def begin(self, parcels: Sequence[Parcel]) -> list[Parcel]:
        """Mark the requests as started, and open them; drop those that were cancelled or have a result.

        Nothing is executed that was not marked: the mark and the look at what the record said are one step in Redis.
        """
        running = self._start([parcel.job for parcel in parcels])
        return [
            opened
            for parcel in parcels
            if parcel.job in running and (opened := self._open(parcel)) is not None
        ]

    def refuse(self, job: Job, error: MemoryRepoError) -> None:
        """Fail a job whose message is no valid request, unless it was cancelled or has a result."""
        self._bodies.remove_unread(job.id)
        if self._start([job]):
            self.answer([job], [error])

    def _start(self, jobs: Sequence[Job]) -> set[Job]:
        """Mark jobs as started; return those that were not over before, and have done with the others."""
        for job in jobs:
            if job.is_overdue:
                self._backend.until_done(self._backend.cancel, (job.id,))
        before = self._backend.store_started([_waiting(job) for job in jobs], self._worker)
        over: list[Job] = []
        for job, found in zip(jobs, before, strict=True):
            job.before = found
            if found in READY_STATES:
                over.append(job)
            else:
                job.start(self._pid)
        self._drop(over)
        return set(jobs).difference(over)

    def _drop(self, jobs: Sequence[Job]) -> None:
        """Have done with jobs whose record says how they ended."""
        self._observer.count("desk.settled_before", len(jobs))
        self._bodies.remove(jobs)
        for tenure, group in groupby(jobs, key=attrgetter("tenure")):
            dropped = list(group)
            if self._finish(tenure, [job.number for job in dropped], ()):
                for job in dropped:
                    job.drop()
                    if job.before == REVOKED:
                        self._tell_ended(job, JobCancelledError("cancelled"))
            else:
                self._leave_to_owner(dropped)

    def _open(self, parcel: Parcel) -> Parcel | None:
        """Return a parcel with its request, or None when there is none to be had: then its job has ended."""
        job = parcel.job
        try:
            return replace(parcel, opened=job.open(self._bodies.fetch(job), self._limits))
        except InvalidRequestError as error:
            self._observer.count("intake.refused")
            self.answer([job], [error])
        except BodyMissingError:
            self._observer.count("desk.bodies_missing")
            logger.warning("request %s has lost its body: its producer, if it waits, sends it again", job.id)
            self._backend.take_back_started(_waiting(job), self._worker, job.before)
            if self._finish(job.tenure, [job.number], ()):
                job.send_back()
            else:
                self._leave_to_owner([job])
        return None

    def retrying(self, parcels: Sequence[Parcel], why: WaitReason) -> None:
        """Mark the requests as waiting for the store, with the reason and since when."""
        error = StoreUnavailableError(why.reason, {"since": why.since_s})
        jobs = [parcel.job for parcel in parcels]
        before = self._backend.store_retrying([_waiting(job) for job in jobs], error)
        for job, found in zip(jobs, before, strict=True):
            if found not in READY_STATES:  # else another owner has settled it meanwhile
                job.retry()

    def settle(self, parcels: Sequence[Parcel], outcomes: Sequence[Outcome], times: TurnTimes) -> None:
        """Store the outcomes as the tasks' results and acknowledge the messages."""
        self.answer([parcel.job for parcel in parcels], outcomes, times)

    def abandon(self, parcels: Sequence[Parcel]) -> None:
        """Leave the requests unacknowledged: whoever owns their shard next will have them again."""
        self._observer.count("requests.given_back", len(parcels))
        for parcel in parcels:
            parcel.job.give_back()

    def answer(
        self, jobs: Sequence[Job], outcomes: Sequence[Outcome], times: TurnTimes | None = None
    ) -> None:
        """Settle jobs; what is not ours any more is left to its new owner."""
        pairs = zip(jobs, outcomes, strict=True)
        for tenure, group in groupby(pairs, key=lambda pair: pair[0].tenure):
            settled = list(group)
            with self._backend.collecting() as results:
                for job, outcome in settled:
                    job.speak(self._bodies.told(job, job.operation, outcome))
            if self._finish(tenure, [job.number for job, _ in settled], results):
                self._bodies.remove([job for job, _ in settled])
                for job, outcome in settled:
                    job.finish(outcome, share_s(job, times, len(jobs)))
                    self._tell_ended(job, outcome, times, len(jobs))
            else:
                self._leave_to_owner([job for job, _ in settled])

    def _tell_ended(self, job: Job, outcome: Outcome, times: TurnTimes | None = None, group: int = 1) -> None:
        if self._observer.hears_requests:
            self._observer.request_ended(request_ended(job, outcome, times, group))

    def _leave_to_owner(self, jobs: Sequence[Job]) -> None:
        self._observer.count("desk.lost", len(jobs))
        for job in jobs:
            job.forget()

    def _finish(self, tenure: Tenure, numbers: Sequence[str], results: Sequence[StoredResult]) -> bool:
        if self._shards is None:
            finished = self._backend.finish(results, tenure, numbers)
        else:
            self._backend.store_all(results)
            finished = self._backend.ensure_acknowledged(self._shards, tenure, numbers)
        tenure.delivered.difference_update(numbers)
        return finished


def _waiting(job: Job) -> Waiting:
    return Waiting(job.id, job.reply_to)
