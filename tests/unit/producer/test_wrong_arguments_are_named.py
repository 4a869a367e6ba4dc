"""What a caller is told of an argument of the wrong kind: which one, and what is accepted, in our own words."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import pytest
from pydantic import BaseModel

from memrepo import (
    AsyncMemoryRepos,
    Author,
    FileChange,
    InvalidRequestError,
    MemoryRepo,
    MemoryRepos,
    Settings,
    append,
)
from memrepo.jobs.job import Dispatcher
from memrepo.models import Model
from memrepo.wire.requests.writes import CommitRequest
from memrepo_worker.testing import async_inline_repos, inline_repos
from tests.support.each import check_each
from tests.unit.test_every_operation_is_complete import Collector

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
        "changes: must map paths to str, bytes or None, or be a sequence of FileChange and edits, as [append(…)]",
    ),
    "one edit alone": (
        lambda repo: repo.commit(append("a", "x"), "m"),  # type: ignore[arg-type]
        "changes: must map paths to str, bytes or None, or be a sequence of FileChange and edits, as [append(…)]",
    ),
    "an edit for a content": (
        lambda repo: repo.commit({"a": append("a", "x")}, "m"),  # type: ignore[dict-item]
        "changes[0].content: must be str, bytes or None (which deletes), not Append",
    ),
    "a folder with its slash": (
        lambda repo: repo.restore("main", paths=["notes/"]),
        "paths[0]: has an empty, '.' or '..' component: leave out the '/' at its end",
    ),
    "a text for changes": (
        lambda repo: repo.commit("", "m"),  # type: ignore[arg-type]
        "changes: must map paths to str, bytes or None, or be a sequence of FileChange and edits, as [append(…)]",
    ),
    "nothing for changes": (
        lambda repo: repo.commit(None, "m"),  # type: ignore[arg-type]
        "changes: must map paths to str, bytes or None, or be a sequence of FileChange and edits, as [append(…)]",
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


# Every argument of every call

GIVEN: Mapping[str, Any] = {
    "text": "tea",
    "changes": {"a": "x"},
    "message": "m",
    "path": "a",
    "ref": "main",
    "base": "main",
    "target": "main",
    "name": "draft",
    "source": "draft",
    "request_id": "chosen-id-1",
    "agent_id": "copy",
}
"""A right value for what a call cannot do without."""

OTHER_KINDS: Mapping[str, Sequence[object]] = {
    "str": [b"main", bytearray(b"main"), 12345678, 1.5, True, ["main"], object()],
    "int": ["2", b"2", True, 2.5, 2.0, None, [2]],
    "bool": ["yes", "true", 1, 0, b"1", None],
    "Author": ["Ann <ann@example.org>", b"Ann", 5, None],
    "Changes": ["a", b"a", 5, ["a"], [("a", "x")], {b"a": "x"}, {5: "x"}, {"a": 5}, {"a": True}],
    "Files": ["a", b"a", 5, ["a"], [("a", "x")], {b"a": "x"}, {5: "x"}, {"a": 5}, {"a": True}],
    "FastForward": ["always", b"only", 5, True, None],
    "OnConflict": ["wait", b"merge", 5, True, None],
    "Favor": ["mine", b"ours", 5, True],
    "Sequence[str]": ["a", b"a", 5, True, [b"a"], [5], [None]],
}
"""What is no value of a type, by the type's name in a call's signature."""


CALLS_OF_A_REPO = {
    name: call
    for name, call in inspect.getmembers(MemoryRepo, inspect.isfunction)
    if not name.startswith("_")
}


def arguments_of_another_kind(call: Callable[..., Any]) -> Iterator[tuple[str, object]]:
    for parameter in list(inspect.signature(call).parameters.values())[1:]:
        kind = parameter.annotation.removesuffix(" | None")
        wrong = [value for value in OTHER_KINDS[kind] if value is not None or kind == parameter.annotation]
        yield from ((parameter.name, value) for value in wrong)


WITH_ARGUMENTS = {
    name: call
    for name, call in inspect.getmembers(MemoryRepo, inspect.isfunction)
    if not name.startswith("_") and [*arguments_of_another_kind(call)]
}


@pytest.mark.parametrize("name", WITH_ARGUMENTS)
def test_no_argument_of_another_kind_is_converted(name: str) -> None:
    collector = Collector()
    repo = MemoryRepo(cast("Dispatcher", collector), org_id="acme", agent_id="ann")
    call = getattr(repo, name)
    needed = [
        parameter.name
        for parameter in inspect.signature(call).parameters.values()
        if parameter.default is inspect.Parameter.empty
    ]

    def is_refused(case: tuple[str, object]) -> None:
        argument, value = case
        with pytest.raises(InvalidRequestError, match=rf"^{argument}[:.\[].*must ") as refusal:
            call(**{**{name: GIVEN[name] for name in needed}, argument: value})

        assert refusal.value.details["field"].startswith(argument)
        assert not collector.requests

    check_each(arguments_of_another_kind(WITH_ARGUMENTS[name]), is_refused)


@pytest.mark.parametrize("value", ["1", b"1", True, [1], float("nan"), float("inf")])
def test_a_time_to_wait_is_a_number_of_seconds(value: Any) -> None:
    with inline_repos() as repos:
        job = repos.repo(org_id="acme", agent_id="ann").create_repo()
        for wait in (job.result, lambda timeout_s: repos.wait([job], timeout_s=timeout_s)):
            with pytest.raises(InvalidRequestError, match=r"^timeout_s: must be "):
                wait(timeout_s=value)
        assert job.result(timeout_s=60).created


@pytest.mark.parametrize("value", ["1", b"1", True, [1], float("nan"), float("inf")])
def test_a_time_to_wait_on_an_event_loop_is_a_number_of_seconds(value: Any) -> None:
    async def wait_so() -> None:
        async with async_inline_repos() as repos:
            job = repos.repo(org_id="acme", agent_id="ann").create_repo()
            with pytest.raises(InvalidRequestError, match=r"^timeout_s: must be "):
                await job.wait(timeout_s=value)
            with pytest.raises(InvalidRequestError, match=r"^timeout_s: must be "):
                await repos.wait([job], timeout_s=value)
            assert (await job.wait(timeout_s=60)).created

    asyncio.run(wait_so())


@pytest.mark.parametrize(("jobs", "said"), [(5, "jobs: "), (["an-id"], "jobs[0]: "), ("id", "jobs[0]: ")])
def test_only_jobs_are_waited_for(jobs: Any, said: str) -> None:
    async def wait_so() -> None:
        async with async_inline_repos() as repos:
            await repos.wait(jobs)

    with inline_repos() as repos, pytest.raises(InvalidRequestError) as refusal:
        repos.wait(jobs)
    with pytest.raises(InvalidRequestError) as refusal_on_a_loop:
        asyncio.run(wait_so())

    assert refusal.value.message == refusal_on_a_loop.value.message
    assert refusal.value.message.startswith(f"{said}must be ")


@pytest.mark.parametrize("kind", [MemoryRepos, AsyncMemoryRepos])
@pytest.mark.parametrize("argument", ["broker_url", "result_url", "settings"])
@pytest.mark.parametrize("value", [b"redis://127.0.0.1", 6379, True])
def test_a_client_is_made_of_texts_and_settings(kind: Callable[..., Any], argument: str, value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=rf"^{argument}: must be \w+ or None, not "):
        kind(**{argument: value})


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("shards", "64"),
        ("shards", 64.0),
        ("shards", True),
        ("connect_timeout_s", "2"),
        ("shard_depth_max", b"1"),
        ("broker_url", b"redis://127.0.0.1"),
        ("result_url", None),
    ],
)
def test_a_setting_of_another_kind_is_named(setting: str, value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=rf"^MEMREPO_{setting.upper()}: must be .*, not "):
        Settings(**{setting: value})


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

    assert isinstance(request.changes[0], FileChange)
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
