"""Celery's worker program, with our log in place of its own, and our way to end on a signal."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

from celery import platforms, signals
from celery.apps.worker import Worker
from celery.exceptions import SecurityWarning
from celery.worker import state
from typing_extensions import override

from memrepo_worker.logs import log
from memrepo_worker.queues.consumer.consumer import MemrepoConsumer
from memrepo_worker.threads.garbage import freeze_heap

logger = logging.getLogger(__name__)

_EXIT_CODES = {"SIGTERM": 0, "SIGINT": 0, "SIGQUIT": 1}


class Program(Worker):
    """One worker process.

    ``about`` is what the line that tells of its being ready says of it beside its name and shards.
    """

    def on_before_init(self, about: Mapping[str, str], **options: Any) -> None:
        """Note what only we know."""
        self._about = about
        self._has_been_ready = False
        with warnings.catch_warnings():
            # Celery warns root: who may send pickled messages may do whatever the worker may. We read JSON alone, and
            # it still raises where pickle is accepted; so there is nothing in the warning to tell an operator.
            warnings.simplefilter("ignore", SecurityWarning)
            super().on_before_init(**options)

    @override
    def setup_logging(self, colorize: bool | None = None) -> bool:
        """Leave the log as it was set up before Celery came to it."""
        return True

    def install_platform_tweaks(self, worker: Worker) -> None:
        """End on each of its signals as on SIGTERM; Celery's own handlers print, sleep, and cancel threads."""
        super().install_platform_tweaks(worker)
        for name, code in _EXIT_CODES.items():
            platforms.signals[name] = self._ending(name, code)

    def on_consumer_ready(self, consumer: MemrepoConsumer) -> None:
        """Tell that requests are served now, the first time or after the broker was away."""
        if not self._has_been_ready:
            self._has_been_ready = True
            freeze_heap()
        signals.worker_ready.send(sender=consumer)
        intake = consumer.intake
        owned = sum(owned_shard.is_open for owned_shard in intake.owned_shards.all().values())
        total = intake.settings.shards
        about = ", ".join(f"{name} {value}" for name, value in self._about.items())
        message = f"ready: {self.hostname} serves {owned} of {total} shards; {about}"
        fields = {"worker": self.hostname, "shards": owned, "shards_total": total, **self._about}
        log(logger, logging.INFO, "worker.ready", message, fields)

    def _ending(self, signal: str, exit_code: int) -> Callable[[int, FrameType | None], None]:
        def end(_number: int, _frame: FrameType | None) -> None:
            signals.worker_shutting_down.send(
                sender=self.hostname, sig=signal, how="Warm", exitcode=exit_code
            )
            state.should_stop = exit_code

        return end
