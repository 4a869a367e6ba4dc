"""A fork at any moment around a client's first call leaves parent and child with a client that works."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from memrepo.settings import environment
from tests.producer.stand_in import SHA, StandIn
from tests.support.documents import ROOT
from tests.support.forking_program import IMPORTS, STATES
from tests.support.valkey import Valkey

LONG = environment().get("LONG") == "1"

HELD = (
    *IMPORTS,
    "memrepo.dispatch.dispatcher:Connections",
    "memrepo.dispatch.replies:Replies.watch",
    "memrepo.dispatch.publisher:Publisher.send",
    "memrepo.dispatch.publisher:Publisher._next_items",
    "memrepo.dispatch.replies:Replies._listen",
    "memrepo.dispatch.replies:Replies.wait_subscribed",
    "memrepo.dispatch.connection:BrokerConnection.open",
    "memrepo.dispatch.connection:_look_at_server",
    "memrepo.dispatch.connection:BrokerConnection.refuse_where_deep",
    "memrepo.dispatch.connection:BrokerConnection.put_payloads",
    "memrepo.dispatch.connection:BrokerConnection.publish",
    "memrepo.dispatch.connection:Message.settle",
    "memrepo.dispatch.replies:Replies._hear",
    "memrepo.dispatch.replies:Replies._settle",
)
"""What another thread is doing while the process forks, in the order in which a first call comes there."""

MOMENTS = (*STATES, *HELD)
CASES = [
    (kind, moment, beside)
    for place, moment in enumerate(MOMENTS)
    for turn, kind in enumerate(("sync", "asyncio"))
    for side, beside in enumerate(("alone", "beside"))
    if LONG or (place + turn + side) % 2 == 0
]
"""Each moment with both kinds of clients, one of them beside other threads, in turns; LONG=1: all."""


def test_there_are_twenty_moments() -> None:
    assert len(MOMENTS) == 20


def begin(*case: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.forking_program", *case],
        env={"PATH": environment()["PATH"], "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def program() -> Iterator[subprocess.Popen[str]]:
    """It has loaded everything, and makes a process of each case."""
    with begin() as running:
        yield running
        running.kill()


@pytest.mark.parametrize(("kind", "moment", "beside"), CASES)
def test_parent_and_child_work_after_a_fork(
    kind: str, moment: str, beside: str, worker: StandIn, broker: Valkey, program: subprocess.Popen[str]
) -> None:
    case = (broker.url, kind, moment, beside)
    if moment in IMPORTS:
        with begin(*case) as own:
            said, complained = own.communicate(timeout=120)
            code = own.returncode
    else:
        assert program.stdin is not None
        assert program.stdout is not None
        print(json.dumps(case), file=program.stdin, flush=True)
        code, said, complained = json.loads(program.stdout.readline())

    assert (code, complained) == (0, "")
    assert json.loads(said) == {"parent": SHA, "child": 0}
