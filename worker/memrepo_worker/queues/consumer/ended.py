"""What a job that has ended says of the way it went."""

from __future__ import annotations

import time

from memrepo.errors import JobCancelledError, MemoryRepoError
from memrepo.tracing.spans import AGENT, JOB_ID, OPERATION, ORG, REQUEST_ID
from memrepo_worker.group import Outcome, Success
from memrepo_worker.observe import RequestEnded, TurnTimes
from memrepo_worker.queues.consumer.task_request import TaskRequest
from memrepo_worker.tracing import GROUP, Attributes, TurnTrace


def request_ended(
    task_request: TaskRequest, outcome: Outcome, times: TurnTimes | None, group: int
) -> RequestEnded:
    """Return the event of a job that was answered just now; ``times`` are its turn's, if it had one."""
    now_s = time.monotonic()
    began_s = _began_s(task_request, times) if task_request.started_s is not None else now_s
    worked_s, store_s = (times.ended_s - began_s, times.store_s) if times else (0.0, 0.0)
    failed, cancelled = isinstance(outcome, MemoryRepoError), isinstance(outcome, JobCancelledError)
    return RequestEnded(
        operation=task_request.operation.name,
        agent=str(task_request.agent) if task_request.agent else None,
        request_id=task_request.request_id or task_request.id,
        job_id=task_request.id,
        outcome="cancelled" if cancelled else "failed" if failed else "done",
        error=type(outcome).__name__ if failed else None,
        summary=task_request.summary_of(outcome) if isinstance(outcome, Success) else None,
        group=group,
        queue_s=task_request.queue_s,
        mailbox_s=began_s - task_request.taken_s,
        work_s=max(0.0, worked_s - store_s),
        store_s=store_s,
        answer_s=now_s - began_s - worked_s,
    )


def trace_request(ended: RequestEnded, trace: TurnTrace, task_request: TaskRequest) -> None:
    """Make the spans of a job that was answered just now, in a turn that is traced."""
    agent = task_request.agent
    about: Attributes = {
        OPERATION: ended.operation,
        ORG: agent.org_id if agent else "",
        AGENT: agent.agent_id if agent else "",
        REQUEST_ID: ended.request_id,
        JOB_ID: ended.job_id,
        GROUP: ended.group,
    }
    times_s = ended.queue_s + ended.mailbox_s, ended.work_s + ended.store_s + ended.answer_s
    trace.tell(task_request.type, task_request.trace_headers, about, times_s, ended.error)


def share_s(task_request: TaskRequest, times: TurnTimes | None, group: int) -> float:
    """Return the runtime that monitors are told: a job's share of the time that its group took.

    A group is executed as a whole. So the sum over its jobs is the time really spent, whoever adds it up.
    """
    ended_s = times.ended_s if times else time.monotonic()
    return max(0.0, ended_s - _began_s(task_request, times)) / group


def _began_s(task_request: TaskRequest, times: TurnTimes | None) -> float:
    """Return when its turn began; for one that was never started, when time began."""
    started_s = task_request.started_s
    return max(started_s, times.began_s if times else 0.0) if started_s is not None else float("inf")
