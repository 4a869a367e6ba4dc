"""Random requests of every kind, by two workers in turn, in groups, seen again and after deaths: as a model says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest

from memrepo import FileChange, MemoryRepoError, append, insert, move
from memrepo import replace as put_instead
from memrepo.settings import environment
from memrepo.wire.operations import OPERATIONS, build
from memrepo.wire.requests.base import Request
from memrepo.wire.requests.memories import EVERY_AGENT
from memrepo_worker.group import Agent, TurnGoesOnError
from memrepo_worker.store.backends.local import LocalStore
from tests.support.hooked_store import HookedStore
from tests.support.memory_model import Files, Model
from tests.support.writers import NOW_S, Writer, writer

LONG = environment().get("LONG") == "1"
STEPS, SEEDS = (1_000, 20) if LONG else (120, 3)
AGENTS = ("ann", "bob", "copy-0", "copy-1")
PATHS = ("a", "b.md", "notes/c", "notes/d")
BRANCHES = ("main", "main", "main", "draft", "side")
READS = {
    "get_files",
    "get_commit",
    "preview_merge",
    "search",
    "list_branches",
    "list_tags",
    "get_changes",
    "get_origins",
    "find_request",
}


class WorkerDiedError(Exception):
    """Ends a worker at a put, as nothing in it expects."""


@dataclass
class Play:
    """Two workers over one store, one of which serves at a time."""

    store: HookedStore
    workers: Sequence[Writer]
    random: Random
    model: Model = field(init=False)
    asked: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    sent: list[Request] = field(default_factory=list)
    ids: Iterator[int] = field(default_factory=lambda: count(1))
    at: int = 0

    def __post_init__(self) -> None:
        self.model = Model(self.files)

    def files(self, agent_id: str, sha: str) -> Files:
        (found,) = self.on(agent_id).group(self.request("get_files", agent_id, ref=sha))
        return {path: file.data for path, file in found.items()}

    def on(self, agent_id: str) -> Writer:
        return replace(self.workers[self.at], agent=Agent("acme", agent_id))

    def hand_over(self) -> None:
        """Have the other worker serve, which trusts nothing of what it knew."""
        self.at = 1 - self.at
        self.workers[self.at].new_lease()

    def request(self, operation: str, agent_id: str, **body: Any) -> Request:
        head = {"org_id": "acme", "agent_id": agent_id, "request_id": f"request-{next(self.ids):06d}"}
        made: Request = build(
            OPERATIONS[operation].request, **head, enqueued_at=NOW_S + len(self.sent), **body
        )
        return made

    def step(self, *requests: Request) -> None:
        """Send these or any, perhaps through a death of the worker, and hold the outcomes to the model."""
        if self.random.random() < 0.2:
            self.hand_over()
        requests = requests or self.some()
        self.sent += requests
        hook = self.random.choice((None, None, None, "before_put", "after_put"))
        if hook is not None and any(request.MUTATES for request in requests):
            setattr(self.store, hook, die)
            with suppress(WorkerDiedError):
                self.outcomes(requests)
            self.store.before_put = self.store.after_put = None
            self.hand_over()
            # Whoever reads again may see what comes after it in its group.
            requests = tuple(request for request in requests if request.MUTATES)
        for request, outcome in zip(requests, self.outcomes(requests), strict=True):
            self.model.take(request, outcome)
            self.asked[request.OPERATION] += 1
            self.ended[type(outcome).__name__] += isinstance(outcome, MemoryRepoError)
        self.model.end_entry()

    def outcomes(self, requests: Sequence[Request]) -> list[Any]:
        """Hand a group over, as often as a long delete takes turns."""
        while True:
            with suppress(TurnGoesOnError):
                return self.on(requests[0].agent_id).group(*requests)

    def some(self) -> tuple[Request, ...]:
        if self.sent and self.random.random() < 0.1:
            again = self.random.choice(self.sent)
            if again.MUTATES and (again.memory[1], again.request_id) in self.model.settled:
                return (again,)
        agent_id = self.random.choice(AGENTS)
        requests = [self.any(agent_id) for _ in range(self.random.choice((1, 1, 1, 2, 3, 5)))]
        together = tuple(one for one in requests if not is_alone(one))
        return together or (requests[0],)

    def any(self, agent_id: str, name: str = "") -> Request:
        name = name or self.random.choice(WEIGHTED)
        if name == "fork" and agent_id not in ("ann", "bob"):
            agent_id = "ann"  # none forks itself
        if name == "list_memories":
            return self.request(name, EVERY_AGENT)
        return self.request(name, agent_id, **getattr(self, f"a_{name}", dict)())

    # What is asked for

    def a_ref(self) -> str:
        return self.random.choice(
            ("HEAD", "main", "main~1", "draft", "side", "side~2", "v1", "v2", "refs/tags/v1")
        )

    def a_path(self) -> str:
        return self.random.choice(PATHS)

    def a_text(self) -> str:
        return f"{self.random.choice('xyz')} {len(self.sent)}\n"

    def a_head(self) -> str | None:
        """A commit that some branch was at, which may be far back, or in another memory."""
        return self.random.choice((None, None, *list(self.model.commits)[-6:]))

    def a_change(self) -> Any:
        path = self.a_path()
        kind = self.random.randrange(6)
        if kind == 0:
            return append(path, self.a_text(), new_line=self.random.random() < 0.5)
        if kind == 1:
            return put_instead(path, self.random.choice("xyz"), "changed ")
        if kind == 2:
            return insert(path, self.random.randrange(3), self.a_text())
        if kind == 3:
            return move(path, self.a_path(), overwrite=self.random.random() < 0.7)
        return FileChange(path=path, content=None if kind == 4 else self.a_text())

    def a_create_repo(self) -> dict[str, Any]:
        return {"initial_files": [FileChange(path=path, content=self.a_text()) for path in PATHS]}

    def a_commit(self) -> dict[str, Any]:
        changes = [self.a_change() for _ in range(self.random.randint(1, 2))]
        files = [change for change in changes if isinstance(change, FileChange)]
        if len({change.path for change in files}) < len(files) or (files and len(files) < len(changes)):
            changes = files[:1]
        return {
            "changes": changes,
            "message": "m",
            "branch": self.random.choice(BRANCHES),
            "expected_head": self.a_head(),
            "on_conflict": self.random.choice(("fail", "rebase", "merge")),
        }

    def a_merge(self) -> dict[str, Any]:
        how = self.random.choice(
            ({}, {}, {"squash": True}, {"fast_forward": "never"}, {"fast_forward": "only"})
        )
        return {**self.a_preview_merge(), "expected_head": self.a_head(), **how}

    def a_preview_merge(self) -> dict[str, Any]:
        return {"source": self.random.choice(("draft", "side", "draft~1", "v1"))}

    def a_restore(self) -> dict[str, Any]:
        return {
            "ref": self.a_ref(),
            "paths": self.random.choice((None, ["notes"], [self.a_path()])),
            "message": self.random.choice((None, "as it was")),
            "expected_head": self.a_head(),
        }

    def a_fork(self) -> dict[str, Any]:
        return {
            "new_agent_id": self.random.choice(("copy-0", "copy-1", "copy-2")),
            "ref": self.a_ref(),
            "history": self.random.random() < 0.5,
        }

    def a_create_branch(self) -> dict[str, Any]:
        return {"name": self.random.choice(BRANCHES), "start_point": self.a_ref()}

    def a_delete_branch(self) -> dict[str, Any]:
        return {"name": self.random.choice(("draft", "side")), "expected_head": self.a_head()}

    def a_create_tag(self) -> dict[str, Any]:
        tag = {"name": self.random.choice(("v1", "v2")), "ref": self.a_ref()}
        if self.random.random() < 0.5:
            return tag
        return {**tag, "overwrite": True, "expected_head": self.a_head()}

    def a_delete_tag(self) -> dict[str, Any]:
        return {"name": self.random.choice(("v1", "v2")), "expected_head": self.a_head()}

    def a_get_files(self) -> dict[str, Any]:
        return {"ref": self.a_ref()}

    a_get_commit = a_get_files

    def a_search(self) -> dict[str, Any]:
        return {"text": self.random.choice("xyz"), "ref": self.a_ref()}

    def a_find_request(self) -> dict[str, Any]:
        return {"wanted": self.random.choice([one.request_id for one in self.sent[-20:]] or ["request-0"])}

    def a_get_changes(self) -> dict[str, Any]:
        return {"limit": 1000}


WEIGHTED = [
    *["commit"] * 12,
    *["merge", "restore", "create_branch", "create_repo", "fork", "list_memories", "create_tag"] * 3,
    *["delete_branch", "delete_tag", "delete_repo"],
    *sorted(READS),
]


def is_alone(request: Request) -> bool:
    """Whether it is in a group of its own; what a group has changed is told of as one, so who asks is alone here."""
    return request.ENDS_GROUP or request.agent_id == EVERY_AGENT or request.OPERATION == "get_changes"


def die() -> None:
    raise WorkerDiedError


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.timeout(600)
def test_each_outcome_is_the_models(tmp_path: Path, seed: int) -> None:
    hooked = HookedStore(LocalStore(tmp_path / "store"))
    with writer(hooked, tmp_path / "a") as a, writer(hooked, tmp_path / "b") as b:
        play = Play(hooked, (a, b), Random(seed))
        for _ in range(STEPS):
            play.step()
        for name in sorted(set(WEIGHTED) - play.asked.keys()):
            play.step(play.any("ann", name))
        for agent_id in (*AGENTS, "copy-2"):
            for name in sorted(READS - {"find_request"}):
                request = play.request(name, agent_id, **getattr(play, f"a_{name}", dict)())
                play.model.take(request, *play.on(agent_id).group(request))

    assert play.asked.keys() == set(WEIGHTED), "each was asked for"
