"""The tasks of a worker's Celery app are in that app, and in no other one of the process."""

from __future__ import annotations

from celery import Celery

from memrepo.wire.operations import OPERATIONS
from memrepo_worker.app import build_app
from memrepo_worker.settings import WorkerSettings


def test_another_app_of_the_process_has_none_of_them() -> None:
    ours, others = build_app(WorkerSettings()), Celery("others", set_as_current=False)
    ours.finalize()
    others.finalize()

    names = {operation.task_name for operation in OPERATIONS.values()}
    assert names <= set(ours.tasks)
    assert not names & set(others.tasks)
