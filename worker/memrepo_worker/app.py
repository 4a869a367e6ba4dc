"""The composition root of a worker: settings in, a running Celery worker out."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from random import Random
from typing import Any
from uuid import uuid4

from celery import Celery
from kombu.entity import Queue
from kombu.transport import TRANSPORT_ALIASES

from memrepo.errors import MemoryRepoError
from memrepo.redis.address import masked
from memrepo.redis.answers import slow_servers
from memrepo.redis.celery_app import OwnCelery
from memrepo.redis.client import connect
from memrepo.redis.transport import url_for
from memrepo.routing import queue_names, shard_of
from memrepo_worker.group import Agent, GroupHandler
from memrepo_worker.liveness import LivenessFile
from memrepo_worker.logs import log
from memrepo_worker.logs.requests import tell_request
from memrepo_worker.metrics.server import build_registry, listen, serving_metrics
from memrepo_worker.observe import Counters
from memrepo_worker.queues.consumer import control  # noqa: F401 - registers its commands
from memrepo_worker.queues.consumer.intake import Intake
from memrepo_worker.queues.consumer.ownership import Ownership
from memrepo_worker.queues.consumer.program import Program
from memrepo_worker.queues.leases.agreement import agree_on_cells, agree_on_names, claim_shard_count, recorded
from memrepo_worker.queues.leases.leases import RedisLeases
from memrepo_worker.queues.leases.owned import OwnedShards
from memrepo_worker.queues.leases.status import read_refused, read_shards
from memrepo_worker.queues.reach import reaching, rights_asker
from memrepo_worker.queues.results.backend import URL_PREFIX
from memrepo_worker.queues.transport.channel import transport_for
from memrepo_worker.queues.transport.context import ShardContext
from memrepo_worker.queues.transport.messages import RedisMessages
from memrepo_worker.settings import WorkerSettings
from memrepo_worker.tasks import register_tasks
from memrepo_worker.threads.beginning import bound_starts
from memrepo_worker.upkeep.runner import Owns, UpkeepRunner

logger = logging.getLogger(__name__)

TRANSPORT = "memrepo"
"""The name under which kombu knows our transport, in this process alone; others use its own on the same broker."""

BROKER_SOCKET_OPTIONS: dict[str, Any] = {
    "socket_timeout": 30,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 10,
}
"""Without them kombu waits for ever on a connection that died without a word."""

_SCRAPE_TIMEOUT_S = 2.0
"""How long a page waits for a broker that is silent: whoever joins the pages of several processes waits for 5 s."""


def build_app(settings: WorkerSettings, shard_context: ShardContext | None = None) -> Celery:
    """Build the Celery app of a worker, with its tasks and queues. Without ``shard_context`` it cannot consume."""
    app = OwnCelery(settings.broker, settings.results)
    app.conf.update(celery_settings(settings))
    if shard_context is not None:
        aliases: dict[str, Any] = TRANSPORT_ALIASES
        aliases[TRANSPORT] = lambda: transport_for(shard_context, settings.broker)
        app.conf.broker_transport = TRANSPORT
        app.conf.broker_url = url_for(TRANSPORT, settings.broker)
    elif settings.broker.sentinels:  # kombu's own transport asks them only until it has found a primary
        app.connect_as_client(**app.conf.broker_transport_options)
    register_tasks(app)
    app.steps["consumer"].update((Intake, Ownership))
    return app


def celery_settings(settings: WorkerSettings) -> dict[str, Any]:
    """Return what Celery must be told."""
    queues = [Queue(name, routing_key=name, no_declare=True) for name in queue_names(settings.shards)]
    return {
        "broker_url": settings.broker.for_celery,
        "broker_transport_options": {**BROKER_SOCKET_OPTIONS, "priority_steps": [0]},
        "broker_use_ssl": dict(settings.broker.tls) if settings.broker.tls else None,
        "broker_connection_max_retries": None,
        "broker_connection_retry_on_startup": True,
        "broker_channel_error_retry": True,  # what a demoted server refuses Celery ends no worker
        "result_backend": URL_PREFIX + settings.results.for_celery.removeprefix("redis+"),
        "result_backend_thread_safe": True,
        "redis_backend_use_ssl": dict(settings.results.tls) if settings.results.tls else None,
        "redis_socket_timeout": 30,
        "redis_socket_connect_timeout": 5,
        "redis_socket_keepalive": not settings.results.path,  # which a Unix socket does not take
        "result_expires": settings.result_expires_s,
        "result_extended": False,
        "task_queues": queues,
        "task_create_missing_queues": False,
        "task_default_queue": queues[0].name,
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": ["json"],
        "result_accept_content": ["json"],
        "task_acks_late": True,
        "task_acks_on_failure_or_timeout": True,
        "task_reject_on_worker_lost": False,
        "task_send_sent_event": False,
        "task_publish_retry_policy": {"max_retries": 3, "interval_start": 0, "interval_step": 0.2},
        "worker_consumer": "memrepo_worker.queues.consumer.consumer:MemrepoConsumer",
        "worker_prefetch_multiplier": 0,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_enable_prefetch_count_reduction": False,
        "worker_soft_shutdown_timeout": settings.soft_shutdown_timeout_s,
        "worker_send_task_events": True,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_disable_rate_limits": True,
        "worker_state_db": None,
    }


@dataclass(frozen=True)
class Supervised:
    """What a worker has of the process that has started it among others.

    That one alone says when to hurry, by SIGQUIT: signals to stop that reach a whole group, or all of a service, come
    here twice. ``metrics`` listens for its reading of this one's page; None where the settings say what becomes of it.
    """

    metrics: socket.socket | None = None


def usual_name() -> str:
    """Return what a worker of this process is called, or its workers' names begin with, where nobody gave another."""
    return f"memrepo-{os.getpid()}"


def run_worker(
    settings: WorkerSettings,
    handler: GroupHandler,
    observer: Counters,
    *,
    name: str | None = None,
    git: str = "",
    upkeep: UpkeepRunner | None = None,
    supervised: Supervised | None = None,
) -> int:
    """Serve until a signal ends the worker, and return the exit code of the process.

    ``name`` is the worker's name in Flower; by default the process id. The host's name is added if it has none.
    ``git`` is the version that the service works with; ``upkeep`` runs jobs for agents that are ours. ``supervised``
    says how it stands to one that has started it among others.
    The log must be set up before (``logs.configure``).
    """
    bound_starts()
    name = name or usual_name()
    name = name if "@" in name else f"{name}@{socket.gethostname()}"
    try:
        agreed = _agree(settings)
    except MemoryRepoError as error:
        print(f"memrepo worker: {error}", file=sys.stderr)  # noqa: T201 - what the operator reads
        return 1
    slow_servers.listen(partial(observer.count, "redis.connections.given_up"))
    broker = connect(settings.broker, connect_timeout_s=5, timeout_s=5, retries=1)
    leases = RedisLeases(broker, f"{name}/{uuid4().hex[:8]}", settings.lease_s, agreed)
    alive = LivenessFile(settings.cache_dir, leases.worker, socket.gethostname())
    shard_context = ShardContext(leases, RedisMessages(broker), OwnedShards(), observer)
    if upkeep is not None:
        upkeep.owns = _owns(shard_context.owned_shards, settings.shards)
    if settings.log.tells_requests:
        observer.listen(tell_request)
    worker = Program(
        build_app(settings, shard_context),
        about=_about(settings, git),
        pool="threads",
        concurrency=settings.concurrency + settings.bounds.hanging_turns_max,
        hostname=name,
        task_events=True,
        without_gossip=True,
        without_mingle=True,
        quiet=True,
        settings=settings,
        handler=handler,
        counters=observer,
        random=Random(),  # noqa: S311 - jitter needs no cryptography
        broker_client=broker,
        shard_context=shard_context,
        new_token=lambda: uuid4().hex,
        exit_now=os._exit,
        show_alive=alive.touch,
        ask_rights=rights_asker(settings),
        hurried_by=("SIGQUIT",) if supervised else ("SIGTERM", "SIGINT", "SIGQUIT"),
    )
    with _metrics(settings, observer, supervised):
        worker.start()
    alive.remove()
    return worker.exitcode or 0


def _agree(settings: WorkerSettings) -> dict[str, bytes | str]:
    """Return what all who use the broker have agreed on, as it is recorded there; the first worker records it."""
    with reaching(settings.broker, "broker") as client:
        agree_on_cells(client, settings.cell, settings.each_cell)
        claim_shard_count(client, settings.shards)
        agree_on_names(client, settings.limits.portable_names)
        return recorded(client)


def _owns(owned_shards: OwnedShards, count: int) -> Owns:
    def owns(agent: Agent) -> bool:
        owned_shard = owned_shards.get(shard_of(agent.org_id, agent.agent_id, count))
        return owned_shard is not None and owned_shard.is_open

    return owns


@contextmanager
def _metrics(settings: WorkerSettings, counters: Counters, supervised: Supervised | None) -> Iterator[None]:
    """Serve the metrics page for as long as the worker runs, where one is asked for.

    Of one that a supervisor reads nothing is said: that one names the page for people.
    """
    listening = supervised.metrics if supervised else None
    is_for_people = listening is None
    if listening is None:
        if settings.metrics_port is None:
            yield
            return
        listening = listen(settings.metrics_host, settings.metrics_port)
    # Of its own, as the heartbeat's waits for longer than a scrape may.
    broker = connect(settings.broker, connect_timeout_s=_SCRAPE_TIMEOUT_S, timeout_s=_SCRAPE_TIMEOUT_S)
    shards = partial(read_shards, broker, settings.shards)
    registry = build_registry(counters, shards, partial(read_refused, broker), settings.cell)
    with broker, serving_metrics(registry, listening) as port:
        if is_for_people:
            message = f"metrics at http://{settings.metrics_host}:{port}/metrics"
            log(
                logger, logging.INFO, "worker.metrics", message, {"host": settings.metrics_host, "port": port}
            )
        yield


def _about(settings: WorkerSettings, git: str) -> dict[str, str]:
    """Return what a worker tells of itself when it is ready."""
    return {
        **({"cell": settings.cell} if settings.cell else {}),
        "broker": masked(settings.broker_url),
        "store": masked(settings.store_url),
        "cache": str(settings.cache_dir.absolute()),
        "version": metadata.version("memrepo"),
        "git": git.removeprefix("git version "),
    }
