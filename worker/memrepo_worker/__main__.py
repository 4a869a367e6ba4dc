"""``python -m memrepo_worker``: the worker's commands alone."""

from __future__ import annotations

import click

from memrepo_worker.cli import commands

if __name__ == "__main__":
    click.Group("memrepo-worker", {command.name or "": command for command in commands()})()
