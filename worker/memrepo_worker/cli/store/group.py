"""``memrepo store``: the commands of whole memories, together."""

from __future__ import annotations

import click

from memrepo_worker.cli.store.accept import accept
from memrepo_worker.cli.store.adopt import adopt
from memrepo_worker.cli.store.du import du
from memrepo_worker.cli.store.fold import fold
from memrepo_worker.cli.store.purge import purge
from memrepo_worker.cli.store.transfer import export, import_
from memrepo_worker.cli.store.verify import verify


@click.group()
def store() -> None:
    """Measure, verify, fold, export, import, adopt and purge whole memories in the store; accept an exchanged one.

    The store is that of MEMREPO_STORE_URL or, where that is not set, of the `memrepo up` that runs in this folder.
    """


for _command in (accept, adopt, du, export, fold, import_, purge, verify):
    store.add_command(_command)
