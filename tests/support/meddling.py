"""The fake service in a worker whose consumer can be told to consume a queue no more, behind its owner's back."""

from __future__ import annotations

from celery.worker.control import control_command

from memrepo_worker.queues.consumer.control import Panel
from tests.support.fake_service import fake_service

service = fake_service


@control_command(args=[("by", str), ("queue", str)])
def cancel_behind(state: Panel, by: str, queue: str) -> dict[str, bool]:
    """Cancel a queue by a part of Celery or kombu; tell whether it was consumed before and is now."""
    consuming = state.consumer.task_consumer
    before = queue in consuming.channel.shard_queues()
    if by == "celery":
        state.consumer.cancel_task_queue(queue)
    elif by == "consumer":
        consuming.cancel_by_queue(queue)
    else:
        consuming.channel.basic_cancel(consuming._active_tags[queue])
    return {"before": before, "after": queue in consuming.channel.shard_queues()}
