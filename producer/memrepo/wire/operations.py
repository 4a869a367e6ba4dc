"""The one table of operations: what can be asked, by which request, with which result.

The client's methods, the Celery tasks, the worker's service and the tests are all driven by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import JsonValue, TypeAdapter, ValidationError

from memrepo import models
from memrepo.lazy import lazy_property
from memrepo.limits import Limits
from memrepo.validation.shape_errors import invalid_request
from memrepo.wire.payload import Payload, attaching
from memrepo.wire.requests import feed, forks, memories, merges, reads, search, tags, writes
from memrepo.wire.requests.base import HEAD_FIELDS, Request

Asked = TypeVar("Asked", bound=Request)
Result = TypeVar("Result")

TASK_PREFIX = "memrepo."
_ADDED_LATER = "is not known here: this worker is older than its producer, upgrade the workers first"


@dataclass(frozen=True)
class Operation(Generic[Asked, Result]):
    """One row: the model of the request, which knows the operation's name, and the type of the result.

    ``public_summary`` says of a result what logs, events and Flower may show: shas, counts and bytes, never content,
    paths or messages.
    """

    request: type[Asked]
    result: TypeAdapter[Result]
    public_summary: Callable[[Result], str]

    @property
    def name(self) -> str:
        """Its name, e.g. ``commit``."""
        return self.request.OPERATION

    @property
    def task_name(self) -> str:
        """The name of its Celery task."""
        return TASK_PREFIX + self.name

    @lazy_property
    def decode(self) -> Callable[[Payload, str | None], Result]:
        """What rebuilds a result for a job: one function for all jobs, of which there may be thousands."""
        return lambda payload, _: self.result_from_payload(payload)

    def result_to_json(self, value: Result) -> JsonValue:
        """Return the JSON form of a result."""
        written: JsonValue = self.result.dump_python(value, mode="json")
        return written

    def result_from_json(self, value: JsonValue) -> Result:
        """Rebuild a result from its JSON form."""
        return self.result_from_payload(Payload(value))

    def result_to_payload(self, value: Result) -> Payload:
        """Return a result with its contents apart."""
        contents: list[bytes] = []
        written = self.result.dump_python(value, mode="json", context=attaching(contents))
        return Payload(written, tuple(contents))

    def result_from_payload(self, payload: Payload) -> Result:
        """Rebuild a result; its JSON form is a body without contents apart."""
        return self.result.validate_python(payload.value, context=payload.contents)


_ROWS: list[Operation[Any, Any]] = []


def _row(
    request: type[Asked], result: TypeAdapter[Result], public_summary: Callable[[Result], str]
) -> Operation[Asked, Result]:
    """Make a row of the table, so that none can be made and left out."""
    row = Operation(request, result, public_summary)
    _ROWS.append(row)
    return row


def _of_write(made: models.CommitResult) -> str:
    what = "commit" if made.created else "unchanged"
    return f"{what} {made.sha} {made.branch} {len(made.files_changed)} files"


def _of_files(files: models.Snapshot) -> str:
    return f"{files.commit_sha} {len(files)} files {sum(file.size for file in files.values())} bytes"


def _of_file(file: models.MemoryFile) -> str:
    return f"{file.sha} {file.size} bytes"


def _of_commit(commit: models.MemoryCommit) -> str:
    return f"{commit.sha} {len(commit.files_changed)} files"


def _of_diff(diff: models.Diff) -> str:
    return f"{diff.base_sha} {diff.target_sha} {len(diff.files)} files"


def _of_merge(made: models.MergeResult) -> str:
    return f"{made.kind} {made.sha} {len(made.files_changed)} files"


def _of_preview(preview: models.MergePreview) -> str:
    return f"{preview.kind} {preview.source_sha} {preview.target_sha} {len(preview.conflicts)} conflicts"


def _of_branch(branch: models.Branch) -> str:
    return f"{branch.sha} {branch.name}"


def _of_tag(tag: models.Tag) -> str:
    return f"{tag.sha} {tag.name}"


def _of_outcome(found: models.RequestOutcome | None) -> str:
    if found is None:
        return "no trace"
    return f"{found.verdict} {found.sha}" if found.sha else found.verdict


def _of_list(items: Sized) -> str:
    return f"{len(items)} items"


def _of_nothing(_: None) -> str:
    return "done"


CREATE_REPO = _row(writes.CreateRepoRequest, TypeAdapter(models.CommitResult), _of_write)
COMMIT = _row(writes.CommitRequest, TypeAdapter(models.CommitResult), _of_write)
GET_FILES = _row(reads.GetFilesRequest, TypeAdapter(models.Snapshot), _of_files)
GET_FILE = _row(reads.GetFileRequest, TypeAdapter(models.MemoryFile), _of_file)
LIST_FILES = _row(reads.ListFilesRequest, TypeAdapter(list[models.FileInfo]), _of_list)
GET_HISTORY = _row(reads.GetHistoryRequest, TypeAdapter(list[models.MemoryCommit]), _of_list)
GET_COMMIT = _row(reads.GetCommitRequest, TypeAdapter(models.MemoryCommit), _of_commit)
GET_HEAD_SHA = _row(reads.GetHeadShaRequest, TypeAdapter(str), str)
DIFF = _row(reads.DiffRequest, TypeAdapter(models.Diff), _of_diff)
GET_CHANGES = _row(feed.GetChangesRequest, TypeAdapter(models.ChangeFeed), _of_list)
LIST_MEMORIES = _row(memories.ListMemoriesRequest, TypeAdapter(models.MemoryPage), _of_list)
SEARCH = _row(search.SearchRequest, TypeAdapter(list[models.Match]), _of_list)
RESTORE = _row(writes.RestoreRequest, TypeAdapter(models.CommitResult), _of_write)
MERGE = _row(merges.MergeRequest, TypeAdapter(models.MergeResult), _of_merge)
PREVIEW_MERGE = _row(merges.PreviewMergeRequest, TypeAdapter(models.MergePreview), _of_preview)
FORK = _row(forks.ForkRequest, TypeAdapter(models.CommitResult), _of_write)
GET_ORIGINS = _row(forks.GetOriginsRequest, TypeAdapter(list[models.Origin]), _of_list)
LIST_BRANCHES = _row(reads.ListBranchesRequest, TypeAdapter(list[models.Branch]), _of_list)
FIND_REQUEST = _row(reads.FindRequestRequest, TypeAdapter(models.RequestOutcome | None), _of_outcome)
CREATE_BRANCH = _row(writes.CreateBranchRequest, TypeAdapter(models.Branch), _of_branch)
DELETE_BRANCH = _row(writes.DeleteBranchRequest, TypeAdapter(type(None)), _of_nothing)
LIST_TAGS = _row(tags.ListTagsRequest, TypeAdapter(list[models.Tag]), _of_list)
CREATE_TAG = _row(tags.CreateTagRequest, TypeAdapter(models.Tag), _of_tag)
DELETE_TAG = _row(tags.DeleteTagRequest, TypeAdapter(type(None)), _of_nothing)
DELETE_REPO = _row(writes.DeleteRepoRequest, TypeAdapter(type(None)), _of_nothing)

OPERATIONS: Mapping[str, Operation[Any, Any]] = {operation.name: operation for operation in _ROWS}
"""Every operation by its name."""

_BY_REQUEST: Mapping[type[Request], Operation[Any, Any]] = {
    operation.request: operation for operation in OPERATIONS.values()
}


def result_of_task(payload: Payload, task_name: str | None) -> object:
    """Rebuild the result of a task, known by its name alone; None is a record's that names no task.

    Raises:
        ValueError: it is no result of that task, or of any.
    """
    if task_name is None:
        return _result_by_form(payload)
    operation = OPERATIONS.get(task_name.removeprefix(TASK_PREFIX))
    if operation is None:
        raise ValueError(f"no operation has the task {task_name!r}")
    return operation.result_from_payload(payload)


def _result_by_form(payload: Payload) -> object:
    """Rebuild a result by its form: that of the operation which has its fields and the fewest others.

    There are others where a result has grown since that record was written.
    """
    said = _fields_of(payload.value)
    fitting: list[tuple[int, object]] = []
    for operation in OPERATIONS.values():
        try:
            result = operation.result_from_payload(payload)
        except ValidationError:
            continue
        fields = _fields_of(operation.result_to_json(result))
        if fields == said:
            return result
        if fields is not None and said is not None and said < fields:
            fitting.append((len(fields - said), result))
    if not fitting:
        raise ValueError("no operation has such a result")
    return min(fitting, key=lambda pair: pair[0])[1]


def _fields_of(value: JsonValue) -> frozenset[str] | None:
    """Return the names of the fields of a result, or of the first in a list; None where it has none."""
    first = value[0] if isinstance(value, list) and value else value
    return frozenset(first) if isinstance(first, dict) else None


def operation_of(request: Asked) -> Operation[Asked, Any]:
    """Return the row that a request belongs to."""
    return _BY_REQUEST[type(request)]


def validate(request: Request, limits: Limits) -> None:
    """Check every value of a request; both sides of the queue call this.

    Raises:
        InvalidRequestError: naming the field; ``TooLargeError`` if it is over a limit.
    """
    request.check(limits)


def request_to_json(request: Request) -> dict[str, JsonValue]:
    """Return a request as its message says it.

    A field at its default is left out, so that a worker of an earlier version serves it, too.
    """
    return request.model_dump(mode="json", exclude_defaults=True)


def request_to_payload(request: Request) -> Payload:
    """Return a request with its contents apart, without what its message says anyway (``HEAD_FIELDS``)."""
    contents: list[bytes] = []
    value = request.model_dump(
        mode="json", exclude=set(HEAD_FIELDS), exclude_defaults=True, context=attaching(contents)
    )
    return Payload(value, tuple(contents))


def build(
    request_type: type[Asked],
    contents: Sequence[bytes] = (),
    /,
    **values: Any,
) -> Asked:
    """Build a request from a caller's or a message's values; ``contents`` are what they have attached.

    Raises:
        InvalidRequestError: naming the first field whose shape is wrong.
    """
    try:
        return request_type.model_validate(values, context=contents)
    except ValidationError as error:
        raise invalid_request(error, request_type, unknown=_ADDED_LATER) from None
