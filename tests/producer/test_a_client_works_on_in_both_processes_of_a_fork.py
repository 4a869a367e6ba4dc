"""A fork at any moment around a client's first call leaves parent and child with a client that works."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from memrepo.settings import environment
from tests.producer.stand_in import SHA, StandIn
from tests.support.documents import ROOT
from tests.support.forking_program import IMPORT, STATES
from tests.support.valkey import Valkey

HELD = (
    IMPORT,
    "memrepo.dispatch.dispatcher:Connections",
    "memrepo.dispatch.publisher:Publisher._next_items",
    "memrepo.dispatch.replies:Replies._listen",
    "memrepo.dispatch.replies:Replies.wait_subscribed",
    "memrepo.dispatch.connection:BrokerConnection.open",
    "memrepo.dispatch.connection:BrokerConnection.refuse_where_deep",
    "memrepo.dispatch.connection:BrokerConnection.publish",
    "memrepo.dispatch.connection:Message.settle",
    "memrepo.dispatch.replies:Replies._settle",
)
"""What another thread is doing while the process forks, in the order in which a first call comes there."""


@pytest.mark.parametrize("moment", [*STATES, *HELD])
@pytest.mark.parametrize("kind", ["sync", "asyncio"])
def test_parent_and_child_work_after_a_fork(kind: str, moment: str, worker: StandIn, broker: Valkey) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.support.forking_program", broker.url, kind, moment],
        env={"PATH": environment()["PATH"], "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    assert json.loads(ended.stdout) == {"parent": SHA, "child": 0}
