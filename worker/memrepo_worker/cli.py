"""The commands that the worker's package adds to ``memrepo``."""

from __future__ import annotations

import click


def commands() -> list[click.Command]:
    """Return the commands; the entry point ``memrepo.commands`` names this function."""
    from memrepo_worker.commands.doctor import doctor  # noqa: PLC0415 - `memrepo log` need not load all of this
    from memrepo_worker.commands.replay import replay  # noqa: PLC0415
    from memrepo_worker.commands.shards import shards  # noqa: PLC0415
    from memrepo_worker.commands.store import store  # noqa: PLC0415
    from memrepo_worker.commands.up import up  # noqa: PLC0415
    from memrepo_worker.commands.worker import worker  # noqa: PLC0415

    return [up, worker, replay, doctor, shards, store]
