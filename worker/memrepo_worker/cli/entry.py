"""The commands that the worker's package adds to ``memrepo``."""

from __future__ import annotations

from collections.abc import Mapping

from memrepo.cli.table import Row

_COMMANDS = "memrepo_worker.cli"

ROWS: Mapping[str, Row] = {
    "cells": Row(f"{_COMMANDS}.cells:cells", "Show several brokers that share the agents.", "pygit2"),
    "doctor": Row(
        f"{_COMMANDS}.doctor:doctor", "Check git, cache, broker and store as a worker does.", "pygit2"
    ),
    "flower": Row(
        "memrepo_worker.local.flower:flower", "Show workers, queues and requests in a browser.", "flower"
    ),
    "replay": Row(f"{_COMMANDS}.replay:replay", "Replay a git repository's history as one memory.", "pygit2"),
    "shards": Row(f"{_COMMANDS}.shards:shards", "Show who owns the shard queues and what waits.", "pygit2"),
    "store": Row(f"{_COMMANDS}.store.group:store", "Measure, verify, fold, move whole memories.", "pygit2"),
    "up": Row(f"{_COMMANDS}.up:up", "Run everything on this machine, in one command.", "pygit2"),
    "worker": Row(f"{_COMMANDS}.worker:worker", "Serve the shard queues until it is told to stop.", "pygit2"),
}


def commands() -> Mapping[str, Row]:
    """Return the rows; the entry point ``memrepo.commands`` names this function."""
    return ROWS
