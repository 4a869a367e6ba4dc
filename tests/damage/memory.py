"""A memory with a warm copy that is several files, what is asked of it, and what comes of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from memrepo.errors import MemoryRepoError
from memrepo.wire.operations import OPERATIONS, build
from memrepo.wire.requests.base import Request
from memrepo.wire.requests.tags import CreateTagRequest
from memrepo.wire.requests.writes import CreateBranchRequest
from memrepo_worker.git.bundles import HEADER_BYTES_MAX, decode_bundle
from memrepo_worker.group import Agent
from memrepo_worker.store.backends.local import LocalStore
from tests.support.samples import SAMPLES
from tests.support.stock_git import empty_repository, git
from tests.support.writers import AGENT, NOW_S, Writer, commit, create, history, writer

LARGE = "".join(f"{number * 7919 % 10_007}\n" for number in range(35_000))
"""Two of it are compared by a process."""


ORIGIN = b" refs/memrepo/origin\n"


class MovableStore(LocalStore):
    """A folder that keeps its name where it is copied to, so that a copied cache is still that of its memories."""

    name = "file:///memories"


@dataclass(frozen=True)
class Observed:
    """What a worker did: its answer, the same when asked again, and all that lies in the store afterwards."""

    answer: object
    again: object
    stored: Mapping[str, bytes]


def request_of(operation: str) -> Request:
    """The operation's sample, asked of our memory, or of the org that it is in."""
    body = {**_head("asked-here"), **SAMPLES[operation].body}
    request: Request = build(OPERATIONS[operation].request, **body)
    return request


def make(folder: Path) -> None:
    """Make the memory and its warm copy, with the branch, the tag and the paths that the samples name."""
    store = MovableStore(folder / "store")
    with writer(store, folder / "cache") as one:
        one.ask(create(**{"a.md": "1\n", "b.md": "2\n", "large": LARGE}, request_id="request-0"))
        one.ask(commit("second", {"a.md": "1\n2\n", "ab.md": "x"}))
        one.ask(build(CreateBranchRequest, **_head("the-branch"), name="draft"))
    with writer(store, folder / "cache") as one:
        one.ask(commit("on draft", {"a.md": "1\n3\n"}, branch="draft"))
        one.ask(commit("third", {"a.md": "1\n2\n3\n", "large": LARGE + "more\n"}))
        one.ask(commit("fourth", {"b.md": "2\n3\n", "large": LARGE + "more\nand more\n"}))  # what differs
        one.ask(build(CreateTagRequest, **_head("begin-the-tag"), name="v1", ref="draft"))
        one.ask(history())


def _head(request_id: str) -> dict[str, Any]:
    return {
        "org_id": AGENT.org_id,
        "agent_id": AGENT.agent_id,
        "request_id": request_id,
        "enqueued_at": NOW_S,
    }


@contextmanager
def copied(memory: Path, folder: Path) -> Iterator[Path]:
    """A copy of the memory, for as long as it is used."""
    shutil.copytree(memory, folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def worker_at(folder: Path) -> Iterator[Writer]:
    """A worker over the store and the cache in a folder."""
    with writer(MovableStore(folder / "store"), folder / "cache") as one:
        yield one


def ask(one: Writer, operation: str) -> object:
    """Ask an operation's sample; an error that is told is an answer, too."""
    request = request_of(operation)
    (outcome,) = replace(one, agent=Agent(request.org_id, request.agent_id)).group(request)
    if isinstance(outcome, MemoryRepoError):
        return type(outcome), outcome.message, outcome.details
    return outcome


def observe(one: Writer, folder: Path, operation: str) -> Observed:
    """Ask twice, and look at what is stored."""
    answer, again = ask(one, operation), ask(one, operation)
    return Observed(answer, again, stored(folder))


def healthy_answers(memory: Path, folder: Path) -> Callable[[str], Observed]:
    """Return what tells, by operation, what a worker observes whose copy of ``memory`` is sound; each is asked once."""
    seen: dict[str, Observed] = {}

    def look(operation: str) -> Observed:
        if operation not in seen:
            with copied(memory, folder / operation) as place, worker_at(place) as one:
                seen[operation] = observe(one, place, operation)
        return seen[operation]

    return look


def stored(folder: Path) -> Mapping[str, bytes]:
    """Return every object in the store. A commit is a pure function, so a healthy worker writes the same bytes."""
    store = MovableStore(folder / "store")
    return {line.key: _what_counts(store.get(line.key).data) for line in store.list("")}


def _what_counts(data: bytes) -> bytes:
    """Return an object as it is; of what a fork copies, which git packs by what lies where, header and object ids."""
    if ORIGIN not in data[:HEADER_BYTES_MAX]:
        return data
    pack = bytes(decode_bundle(data).pack)
    with TemporaryDirectory() as folder:
        repo = empty_repository(Path(folder, "repo.git"))
        git(repo, "index-pack", "--strict", "--stdin", stdin=pack)
        objects = git(repo, "cat-file", "--batch-all-objects", "--batch-check")
    return data[: len(data) - len(pack)] + objects
