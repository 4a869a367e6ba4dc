"""What a caller is told of an argument of the wrong kind: which one, and what is accepted, in our own words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from memrepo import Author, FileChange, InvalidRequestError, MemoryRepo, MemoryRepos
from memrepo.models import Model
from memrepo.wire.requests.writes import CommitRequest
from memrepo_worker.testing import inline_repos

AUTHOR = {"name": "Ann", "email": "ann@example.org"}

CALLS: dict[str, tuple[Callable[[MemoryRepo], Any], str]] = {
    "a number as content": (
        lambda repo: repo.commit({"a": 5}, "m"),  # type: ignore[dict-item]
        "changes[0].content: must be str, bytes or None (which deletes), not int",
    ),
    "a number as path": (
        lambda repo: repo.commit({"a": "x", 5: "y"}, "m"),  # type: ignore[dict-item]
        "changes[1].path: must be str, not int",
    ),
    "one change alone": (
        lambda repo: repo.commit(FileChange(path="a"), "m"),  # type: ignore[arg-type]
        "changes: must map paths to str, bytes or None, or be a sequence of FileChange",
    ),
    "a text for changes": (
        lambda repo: repo.commit("", "m"),  # type: ignore[arg-type]
        "changes: must map paths to str, bytes or None, or be a sequence of FileChange",
    ),
    "nothing for changes": (
        lambda repo: repo.commit(None, "m"),  # type: ignore[arg-type]
        "changes: must map paths to str, bytes or None, or be a sequence of FileChange",
    ),
    "no message": (
        lambda repo: repo.commit({"a": "x"}, None),  # type: ignore[arg-type]
        "message: must be str, not NoneType",
    ),
    "a text for an author": (
        lambda repo: repo.commit({"a": "x"}, "m", author="Ann"),  # type: ignore[arg-type]
        "author: must be Author, not str",
    ),
    "a number as head": (
        lambda repo: repo.commit({"a": "x"}, "m", expected_head=7),  # type: ignore[arg-type]
        "expected_head: must be str or None, not int",
    ),
    "a number as request id": (
        lambda repo: repo.commit({"a": "x"}, "m", request_id=12345678),  # type: ignore[arg-type]
        "request_id: must be str, not int",
    ),
    "a word for a flag": (
        lambda repo: repo.commit({"a": "x"}, "m", create_repo_if_missing="maybe"),  # type: ignore[arg-type]
        "create_repo_if_missing: must be bool, not str",
    ),
    "a text as initial files": (
        lambda repo: repo.create_repo("a"),  # type: ignore[arg-type]
        "initial_files: must map paths to str, bytes or None, or be a sequence of FileChange",
    ),
    "one text for paths": (
        lambda repo: repo.get_files(paths="a"),
        "paths: must be a sequence of paths, or None",
    ),
    "a number for paths": (
        lambda repo: repo.diff("main", "main", paths=5),  # type: ignore[arg-type]
        "paths: must be a sequence of paths, or None",
    ),
    "a number among paths": (
        lambda repo: repo.restore("main", paths=["a", 5]),  # type: ignore[list-item]
        "paths[1]: must be str, not int",
    ),
    "a word for a limit": (
        lambda repo: repo.get_history(limit="many"),  # type: ignore[arg-type]
        "limit: must be int, not str",
    ),
    "a number as ref": (lambda repo: repo.get_file("a", ref=1), "ref: must be str, not int"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize(("call", "said"), CALLS.values(), ids=CALLS.keys())
def test_a_call_names_what_is_wrong(call: Callable[[MemoryRepo], Any], said: str) -> None:
    with inline_repos() as repos, pytest.raises(InvalidRequestError) as refusal:
        call(repos.repo(org_id="acme", agent_id="ann"))

    assert refusal.value.message == said
    assert refusal.value.details["field"] == said.partition(":")[0]


def test_a_memory_or_job_that_is_not_named_by_text_is_named_too() -> None:
    with inline_repos() as repos:
        with pytest.raises(InvalidRequestError, match=r"^agent_id: must be str, not int$"):
            repos.repo(org_id="acme", agent_id=5)  # type: ignore[arg-type]
        with pytest.raises(InvalidRequestError, match=r"^job_id: must be str, not NoneType$"):
            repos.job(None)  # type: ignore[arg-type]


BUILT: dict[str, tuple[Callable[[], Any], str]] = {
    "content": (
        lambda: FileChange(path="a", content=5),  # type: ignore[arg-type]
        "content: must be str, bytes or None (which deletes), not int",
    ),
    "path": (lambda: FileChange(path=None), "path: must be str, not NoneType"),  # type: ignore[arg-type]
    "executable": (
        lambda: FileChange(path="a", executable="perhaps"),  # type: ignore[arg-type]
        "executable: must be bool or None, not str",
    ),
    "kind of change": (
        lambda: FileChange(path="a", change_type="rename"),  # type: ignore[arg-type]
        "change_type: must be 'add', 'modify' or 'delete'",
    ),
    "no path": (lambda: FileChange(content="x"), "path: is required"),  # type: ignore[call-arg]
    "a misspelt field": (
        lambda: FileChange(path="a", contents="x"),  # type: ignore[call-arg]
        "contents: is no field of FileChange",
    ),
    "kind of author": (
        lambda: Author(**AUTHOR, type="robot"),  # type: ignore[arg-type]
        "type: must be 'agent', 'user' or 'system'",
    ),
    "no e-mail": (lambda: Author(name="Ann"), "email: is required"),  # type: ignore[call-arg]
}


@pytest.mark.parametrize(("build", "said"), BUILT.values(), ids=BUILT.keys())
def test_a_value_that_is_built_alone_names_what_is_wrong(build: Callable[[], Any], said: str) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        build()

    assert refusal.value.message == said


def test_what_is_wrong_is_named_without_its_value() -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        FileChange(path="a", executable="a secret")  # type: ignore[arg-type]

    assert "secret" not in str(refusal.value)
    assert refusal.value.__cause__ is None
    assert refusal.value.__suppress_context__


def test_values_inside_of_others_are_built_by_pydantic_itself() -> None:
    """With their context, by which contents are attached: ``Model.__init__`` is for callers alone."""
    values = {
        "org_id": "acme",
        "agent_id": "ann",
        "request_id": "chosen-id-1",
        "enqueued_at": 0.0,
        "changes": [{"path": "a", "content": {"attached": 0}}],
        "message": "m",
    }

    request = CommitRequest.model_validate(values, context=(b"attached",))

    assert request.changes[0].content == b"attached"
    assert not any(kind.__pydantic_custom_init__ for kind in subclasses(Model))


def subclasses(kind: type[BaseModel]) -> list[type[BaseModel]]:
    return [kind, *(deeper for child in kind.__subclasses__() for deeper in subclasses(child))]


def test_the_client_takes_what_is_no_mapping_of_its_own_kind() -> None:
    with inline_repos() as repos:
        assert isinstance(repos, MemoryRepos)
        repo = repos.repo(org_id="acme", agent_id="ann")
        repo.create_repo({"a": bytearray(b"x"), "b": memoryview(b"y")})  # type: ignore[dict-item]

        assert repo.get_file("b").result().text == "y"
