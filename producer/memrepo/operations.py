"""The one table of operations: what can be asked, by which request, with which result.

The client's methods, the Celery tasks, the worker's service and the tests are all driven by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from memrepo import models, requests
from memrepo.bodies import Body, attaching
from memrepo.errors import InvalidRequestError
from memrepo.limits import Limits

Result = TypeVar("Result")

TASK_PREFIX = "memrepo."


@dataclass(frozen=True)
class Operation(Generic[Result]):
    """One row: a name, the model of the request, and the type of the result with its JSON form."""

    name: str
    request: type[requests.Request]
    result: TypeAdapter[Result]

    @property
    def task_name(self) -> str:
        """The name of its Celery task."""
        return TASK_PREFIX + self.name

    def result_to_json(self, value: Result) -> Any:  # noqa: ANN401 - any JSON value
        """Return the JSON form of a result."""
        return self.result.dump_python(value, mode="json")

    def result_from_json(self, value: Any) -> Result:  # noqa: ANN401 - any JSON value
        """Rebuild a result from its JSON form."""
        return self.result_from_body(Body(value))

    def result_to_body(self, value: Result) -> Body:
        """Return a result with its contents apart."""
        contents: list[bytes] = []
        written = self.result.dump_python(value, mode="json", context=attaching(contents))
        return Body(written, tuple(contents))

    def result_from_body(self, body: Body) -> Result:
        """Rebuild a result; its JSON form is a body without contents apart."""
        return self.result.validate_python(body.value, context=body.contents)


CREATE_REPO = Operation("create_repo", requests.CreateRepoRequest, TypeAdapter(models.CommitResult))
COMMIT = Operation("commit", requests.CommitRequest, TypeAdapter(models.CommitResult))
GET_FILES = Operation("get_files", requests.GetFilesRequest, TypeAdapter(models.Snapshot))
GET_FILE = Operation("get_file", requests.GetFileRequest, TypeAdapter(models.MemoryFile))
LIST_FILES = Operation("list_files", requests.ListFilesRequest, TypeAdapter(list[models.FileInfo]))
GET_HISTORY = Operation("get_history", requests.GetHistoryRequest, TypeAdapter(list[models.MemoryCommit]))
GET_HEAD_SHA = Operation("get_head_sha", requests.GetHeadShaRequest, TypeAdapter(str))
DIFF = Operation("diff", requests.DiffRequest, TypeAdapter(models.Diff))
RESTORE = Operation("restore", requests.RestoreRequest, TypeAdapter(models.CommitResult))
LIST_BRANCHES = Operation("list_branches", requests.ListBranchesRequest, TypeAdapter(list[models.Branch]))
FIND_REQUEST = Operation(
    "find_request", requests.FindRequestRequest, TypeAdapter(models.RequestOutcome | None)
)
CREATE_BRANCH = Operation("create_branch", requests.CreateBranchRequest, TypeAdapter(models.Branch))
DELETE_BRANCH = Operation("delete_branch", requests.DeleteBranchRequest, TypeAdapter(type(None)))
DELETE_REPO = Operation("delete_repo", requests.DeleteRepoRequest, TypeAdapter(type(None)))

OPERATIONS: Mapping[str, Operation[Any]] = {
    operation.name: operation
    for operation in (
        CREATE_REPO, COMMIT, GET_FILES, GET_FILE, LIST_FILES, GET_HISTORY, GET_HEAD_SHA,
        DIFF, RESTORE, LIST_BRANCHES, FIND_REQUEST, CREATE_BRANCH, DELETE_BRANCH, DELETE_REPO,
    )
}  # fmt: skip
"""Every operation by its name."""

_BY_REQUEST: Mapping[type[requests.Request], Operation[Any]] = {
    operation.request: operation for operation in OPERATIONS.values()
}


def result_from_body(body: Body) -> Any:  # noqa: ANN401 - any operation's result
    """Rebuild a result whose operation is not known: no two operations' results share a JSON form.

    (All lists look alike when they are empty, and then they are alike; so are all that are None.)

    Raises:
        ValueError: it is no operation's result.
    """
    for operation in OPERATIONS.values():
        try:
            return operation.result_from_body(body)
        except ValidationError:
            continue
    raise ValueError("no operation has such a result")


def operation_of(request: requests.Request) -> Operation[Any]:
    """Return the row that a request belongs to."""
    return _BY_REQUEST[type(request)]


def validate(request: requests.Request, limits: Limits) -> None:
    """Check every value of a request; both sides of the queue call this.

    Raises:
        InvalidRequestError: naming the field; ``TooLargeError`` if it is over a limit.
    """
    request.check(limits)


def request_to_body(request: requests.Request) -> Body:
    """Return a request with its contents apart, without what its message says anyway (``HEAD_FIELDS``)."""
    contents: list[bytes] = []
    value = request.model_dump(mode="json", exclude=set(requests.HEAD_FIELDS), context=attaching(contents))
    return Body(value, tuple(contents))


def build(
    request_type: type[requests.Request],
    contents: Sequence[bytes] = (),
    /,
    **values: Any,  # noqa: ANN401
) -> requests.Request:
    """Build a request from a caller's or a message's values; ``contents`` are what they have attached.

    Raises:
        InvalidRequestError: naming the first field whose shape is wrong.
    """
    try:
        return request_type.model_validate(values, context=contents)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise InvalidRequestError.of(_field_of(first["loc"]), first["msg"]) from None


def _field_of(location: tuple[int | str, ...]) -> str:
    """Write pydantic's location of a value as ``changes[0].path``, as ``check`` does."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in location]
    return "".join(parts).removeprefix(".") or "request"
