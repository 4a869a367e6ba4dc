"""Nothing of an operation can be left out: for each of its places there is a test here that names what is missing."""

from __future__ import annotations

import ast
import inspect
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, cast

import click
import pytest

import memrepo.cli.commands
from memrepo import AsyncMemoryRepos, Job, Limits, MemoryRepo, MemoryRepos
from memrepo.cli.table import PRODUCER
from memrepo.jobs.job import Dispatcher, Followed
from memrepo.jobs.pending import Pending
from memrepo.wire import operations
from memrepo.wire.operations import OPERATIONS, Operation, operation_of
from memrepo.wire.requests import feed, forks, memories, merges, reads, search, tags, writes
from memrepo.wire.requests.base import Request
from memrepo_worker.service.reads import READS
from memrepo_worker.service.results import RESULTS
from memrepo_worker.service.writes.table import WRITES
from tests.commands.table import TABLE
from tests.support.documents import ROOT
from tests.support.samples import PRIVATE, SAMPLES

NOT_ON_THE_COMMAND_LINE = {"get_files"}  # `ls` and `cat` read them one by one

OF_CLIENTS = {"list_memories"}
"""What is asked of an org, and not of an agent's memory."""

AGENTS = {"list_memories": "*"}
"""Whose request it is, where it is not of the agent that asks."""


class Collector:
    """Takes every request and sends none."""

    blocks = False
    limits = Limits()

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def now_s(self) -> float:
        return time.time()

    def submit(self, operation: Operation[Any, Any], request: Request, task_id: str) -> Job[Any]:
        assert operation is operation_of(request)
        self.requests.append(request)
        pending: Pending[Any] = Pending(task_id, lambda *_: None)
        return Job(cast("Followed", self), pending, request.request_id)


def asked(name: str) -> Request:
    """Return the request that the sample of an operation makes."""
    collector = Collector()
    SAMPLES[name].ask(MemoryRepo(cast("Dispatcher", collector), org_id="acme", agent_id="agent-42"))
    (request,) = collector.requests
    return request


def called_in(folder: str) -> set[str]:
    """Return the names of all methods that the modules of a folder call."""
    return {
        node.func.attr
        for path in (ROOT / folder).glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }


def commands() -> Iterator[str]:
    """Yield where each of the producer's commands is, as the table says it."""
    for module in iter_modules([str(Path(memrepo.cli.commands.__file__).parent)]):
        place = f"memrepo.cli.commands.{module.name}"
        for name, item in vars(import_module(place)).items():
            if isinstance(item, click.Command) and not isinstance(item, click.Group):
                yield f"{place}:{name}"


def test_every_request_that_names_an_operation_has_its_row_in_the_table() -> None:
    written = {
        item
        for module in (feed, forks, memories, merges, reads, search, tags, writes)
        for item in vars(module).values()
        if isinstance(item, type) and issubclass(item, Request) and "OPERATION" in vars(item)
    }

    assert {operation.request for operation in OPERATIONS.values()} == written


def test_no_two_operations_have_one_name() -> None:
    rows = [item for item in vars(operations).values() if isinstance(item, Operation)]

    assert sorted(row.name for row in rows) == sorted(OPERATIONS)


def test_every_operation_is_a_call_of_a_memory_or_of_a_client() -> None:
    calls = {
        name for name, _ in inspect.getmembers(MemoryRepo, inspect.isfunction) if not name.startswith("_")
    }

    assert calls - {"watch"} == set(OPERATIONS) - OF_CLIENTS  # which asks for changes, again and again
    assert set(dir(MemoryRepos)) & set(dir(AsyncMemoryRepos)) >= OF_CLIENTS


def test_every_read_and_every_write_has_a_handler_and_every_write_a_result() -> None:
    asked_for = {operation.request for operation in OPERATIONS.values()}

    assert {*READS, feed.GetChangesRequest, memories.ListMemoriesRequest} == {
        request for request in asked_for if not request.MUTATES
    }
    assert set(WRITES) == set(RESULTS) == {request for request in asked_for if request.MUTATES}


def test_every_operation_has_a_sample() -> None:
    assert set(SAMPLES) == set(OPERATIONS)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_call_asks_the_operation_of_its_name(name: str) -> None:
    assert name == asked(name).OPERATION


@pytest.mark.parametrize("name", SAMPLES)
def test_logs_and_flower_show_who_asks_and_how_much_and_nothing_private(name: str) -> None:
    request = asked(name)
    shown = OPERATIONS[name].public_summary(SAMPLES[name].result)

    assert request.public_summary.startswith(f"acme/{AGENTS.get(name, 'agent-42')}")
    assert shown == SAMPLES[name].shown
    assert [secret for secret in PRIVATE.values() if secret in f"{request.public_summary} {shown}"] == []


def test_every_operation_can_be_asked_on_the_command_line() -> None:
    assert set(OPERATIONS) - called_in("producer/memrepo/cli/commands") == NOT_ON_THE_COMMAND_LINE


def test_every_command_is_in_the_table_of_commands() -> None:
    assert {row.place for row in PRODUCER.values()} >= set(commands())


def test_every_command_is_tried_in_every_situation() -> None:
    assert set(TABLE) >= set(PRODUCER)


def test_every_operation_is_driven_through_the_queue_and_inline() -> None:
    assert set(OPERATIONS) - called_in("tests/functional") == set()
