"""``memrepo flower``: Flower for one broker, by our settings alone.

Celery's own command and Flower's read ``FLOWER_*``, ``CELERY_*`` and a file in the folder they are started in; here
nothing is read but ``MEMREPO_*`` and the command line.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from typing import Protocol

import click
from celery import Celery

from memrepo.cli.ending import CONFLICT, CommandError
from memrepo.cli.up_state import completed
from memrepo.errors import InvalidRequestError
from memrepo.redis.address import RedisUrl
from memrepo.redis.celery_app import deafen_default
from memrepo.redis.client import connect
from memrepo.settings import environment
from memrepo_worker.app import build_app
from memrepo_worker.local.ports import HOST
from memrepo_worker.queues.reach import reaching
from memrepo_worker.settings import WorkerSettings

_ANSWER_TIMEOUT_S = 2.0

FLOWER_OPTIONS = (
    "--read_only=True",
    "--max_tasks=10000",
    "--tasks_columns=name,kwargs,state,result,exception,runtime,received,worker,uuid",
)


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--address", default=HOST, show_default=True, help="Where it listens; 0.0.0.0 is everywhere.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    help="Its port, 0 for any.  [default: MEMREPO_FLOWER_PORT, else 5555]",
)
@click.argument("flower_options", nargs=-1)
def flower(address: str, port: int | None, flower_options: Sequence[str]) -> None:
    """Show workers, queues and requests in a browser, until SIGTERM or Ctrl+C.

    It asks for the user and password of MEMREPO_FLOWER_BASIC_AUTH; without that it makes one and prints it. Nothing can
    be changed by it. What follows `--` are options of Flower's own, which win: memrepo flower -- --read_only=False
    """
    env, _ = completed(environment())
    settings = WorkerSettings.from_env(env)
    with reaching(settings.broker, "broker") as broker:
        broker.ping()
    chosen = (f"--address={address}", f"--port={settings.flower_port if port is None else port}")
    deafen_default(settings.broker, settings.results)
    arguments = (*FLOWER_OPTIONS, *chosen, *flower_options)
    _run(build_app(settings), settings.broker, settings.flower_basic_auth, arguments)


class _Queues:
    """How many messages each queue has, asked over connections of ours.

    Flower's own would ask the first Sentinel alone, and database 0 behind it.
    """

    def __init__(self, address: RedisUrl) -> None:
        self._address = address

    async def queues(self, names: Iterable[str]) -> list[dict[str, str | int]]:
        """Return the lengths as Flower's pages take them."""
        return await asyncio.to_thread(self._read, list(names))

    def _read(self, names: list[str]) -> list[dict[str, str | int]]:
        with connect(
            self._address, connect_timeout_s=_ANSWER_TIMEOUT_S, timeout_s=_ANSWER_TIMEOUT_S
        ) as client:
            pipeline = client.pipeline(transaction=False)
            for name in names:
                pipeline.llen(name)
            lengths = pipeline.execute()
        return [{"name": name, "messages": length} for name, length in zip(names, lengths, strict=True)]


def _run(app: Celery, broker: RedisUrl, login: str, arguments: Sequence[str]) -> None:
    from flower.app import Flower  # noqa: PLC0415 - the extra may be missing, and the table of commands says so
    from flower.command import extract_settings, setup_logging  # noqa: PLC0415 - likewise
    from flower.options import options  # noqa: PLC0415 - likewise
    from flower.urls import settings as urls  # noqa: PLC0415 - likewise
    from flower.views import BaseHandler  # noqa: PLC0415 - likewise
    from tornado.options import Error, parse_command_line  # noqa: PLC0415 - likewise

    unknown = [one for one in arguments if one.lstrip("-").partition("=")[0] not in options]
    if unknown:  # Flower would print its whole help
        name = unknown[0].partition("=")[0]  # its value may be a password
        raise InvalidRequestError.of("FLOWER_OPTIONS", f"has one that Flower does not know: {name}")
    made = "" if login else f"memrepo:{secrets.token_urlsafe(12)}"
    options.basic_auth = [login or made]
    try:
        parse_command_line(["memrepo flower", *arguments])
    except (Error, ValueError) as error:
        raise InvalidRequestError.of("FLOWER_OPTIONS", str(error)) from error
    extract_settings()
    setup_logging()
    BaseHandler.get_broker = lambda _: _Queues(broker)
    shown = Flower(capp=app, options=options, **urls)
    shown.broker_uri = str(broker)  # instead of what kombu is told
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        bound = shown.start_http_server()
    except OSError as error:
        text = (
            f"port {options.port} cannot be used ({error.strerror}): give another with --port, or 0 for any"
        )
        raise CommandError("ConflictError", text, CONFLICT) from error
    if made:
        user, _, password = made.partition(":")
        click.echo(f"Flower asks for user {user}, password {password} (shown once).")
    logging.getLogger(__name__).info("Flower listens at http://%s:%s", options.address, bound)
    show_until_told(shown)


class Shown(Protocol):
    """What ``show_until_told`` needs of Flower."""

    def start(self) -> object:
        """Serve until a signal raises ``SystemExit`` or ``KeyboardInterrupt``."""
        ...

    def stop(self) -> object:
        """Keep what is to be kept, and wait for no thread; do nothing where it was done."""
        ...


def show_until_told(shown: Shown) -> None:
    """Serve until a signal comes, then end the process with 0, whatever its threads wait for.

    While the broker is away Flower's threads try it again and again, and Python's own end waits for each of them.
    """
    with suppress(KeyboardInterrupt, SystemExit):
        shown.start()
    with ExitStack() as ending:  # by each of these, whatever another raises, as where a second signal comes
        ending.callback(os._exit, 0)
        ending.callback(sys.stdout.flush)
        ending.callback(logging.shutdown)
        try:
            shown.stop()
        except Exception:
            logging.getLogger(__name__).exception("Flower could not keep what it has seen")
