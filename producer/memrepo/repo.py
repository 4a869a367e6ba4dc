"""The calls of one agent's memory, for both clients: each checks its request, sends it and returns its job."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from memrepo.errors import InvalidRequestError
from memrepo.ids import new_id
from memrepo.jobs.job import Dispatcher, Job
from memrepo.models import (
    DEFAULT_AUTHOR,
    Author,
    Branch,
    CommitResult,
    Diff,
    FileChange,
    FileInfo,
    MemoryCommit,
    MemoryFile,
    RequestOutcome,
    Snapshot,
)
from memrepo.validation.values import check_id, check_request_id
from memrepo.wire import operations
from memrepo.wire.operations import Operation
from memrepo.wire.requests import reads, writes
from memrepo.wire.requests.base import Head, Request
from memrepo.wire.requests.edits import Append, Edit, Insert, Move, Replace

Asked = TypeVar("Asked", bound=Request)
T = TypeVar("T")

Files = Mapping[str, str | bytes | None] | Sequence[FileChange]
Changes = Files | Sequence[Edit] | Sequence[FileChange | Edit]
"""Files to write: path to content, where None deletes; or a ``FileChange`` each. Edits may be among these."""


class MemoryRepo:
    """One agent's memory.

    Every call raises ``InvalidRequestError`` at once for what no worker would accept. With ``MemoryRepos`` it
    returns when the broker holds the request, and raises ``BrokerUnavailableError`` within 5 s, or
    ``MemoryRepoBusyError``; with ``AsyncMemoryRepos`` it returns at once, and the job tells. Calls made by one
    client for one agent are applied in the order of the calls, and a read sees all commits before it.

    Every write takes a ``request_id``, which makes the caller's own retries safe: the same id with the same call is
    applied once, and answered alike, for 24 hours. A read needs none.
    """

    def __init__(self, dispatcher: Dispatcher, *, org_id: str, agent_id: str) -> None:
        """Made by ``MemoryRepos.repo``."""
        self.org_id = check_id(org_id, "org_id")
        self.agent_id = check_id(agent_id, "agent_id")
        self._dispatcher = dispatcher

    def __repr__(self) -> str:
        return f"MemoryRepo({self.org_id}/{self.agent_id})"

    def create_repo(
        self,
        initial_files: Files | None = None,
        *,
        author: Author = DEFAULT_AUTHOR,
        request_id: str | None = None,
    ) -> Job[CommitResult]:
        """Begin the memory with a first commit, "Initial commit".

        Without files it holds ``.memrepo/config.json``. The job raises ``RepoExistsError`` if there is one already.
        """
        request = writes.CreateRepoRequest(
            **self._head(request_id),
            initial_files=_changes({} if initial_files is None else initial_files, "initial_files"),
            author=author,
        )
        return self._ask(operations.CREATE_REPO, request, request_id)

    def commit(
        self,
        changes: Changes,
        message: str,
        *,
        author: Author = DEFAULT_AUTHOR,
        branch: str = "main",
        start_point: str = "main",
        expected_head: str | None = None,
        create_repo_if_missing: bool = False,
        request_id: str | None = None,
    ) -> Job[CommitResult]:
        """Change files, all or nothing, as one commit on a branch.

        Args:
            changes: path to content (None deletes; deleting what is absent is no error), or ``FileChange``s and edits
                (``append``, ``replace``, ``insert``, ``move``), applied in order, each on what those before it left.
            message: the commit message.
            author: who wrote it.
            branch: where it goes; a branch that does not exist begins at ``start_point``.
            start_point: any ref, e.g. a branch, a tag, a sha or ``main~1``.
            expected_head: a whole sha; refuse if the branch is elsewhere.
            create_repo_if_missing: begin the memory if there is none.
            request_id: the same id with the same call is applied once; see the class.

        The job raises ``RepoNotFoundError``, ``HeadMovedError``, or ``ContentMovedError`` for a change whose
        ``expected_sha256`` is not what is there, or an edit that does not find what it looks for; ``PathNotFoundError``
        for an edit of a file that is not there. A commit that changes nothing gives ``created=False``.
        """
        request = writes.CommitRequest(
            **self._head(request_id),
            changes=_changes_and_edits(changes),
            message=message,
            author=author,
            branch=branch,
            start_point=start_point,
            expected_head=expected_head,
            create_repo_if_missing=create_repo_if_missing,
        )
        return self._ask(operations.COMMIT, request, request_id)

    def get_files(self, ref: str = "HEAD", *, paths: Sequence[str] | None = None) -> Job[Snapshot]:
        """Read all files, or those of ``paths`` that exist, as they were at ``ref``.

        A ref is ``HEAD``, a branch, a tag, a sha or its first digits (at least 7), each with ``~n`` behind it or not.

        The job raises ``RefNotFoundError``, or ``TooLargeError`` when they do not fit into one reply.
        """
        request = reads.GetFilesRequest(**self._head(), ref=ref, paths=_paths(paths))
        return self._ask(operations.GET_FILES, request)

    def get_file(self, path: str, *, ref: str = "HEAD") -> Job[MemoryFile]:
        """Read one file as it was at ``ref``; the job raises ``PathNotFoundError`` if it was not there."""
        request = reads.GetFileRequest(**self._head(), path=path, ref=ref)
        return self._ask(operations.GET_FILE, request)

    def list_files(
        self, prefix: str = "", *, ref: str = "HEAD", limit: int = 1000, after: str | None = None
    ) -> Job[list[FileInfo]]:
        """List files whose path begins with ``prefix``, at most ``limit``, those after the path ``after``."""
        request = reads.ListFilesRequest(**self._head(), prefix=prefix, ref=ref, limit=limit, after=after)
        return self._ask(operations.LIST_FILES, request)

    def get_history(
        self, path: str | None = None, *, ref: str = "HEAD", limit: int = 50, after: str | None = None
    ) -> Job[list[MemoryCommit]]:
        """List commits (that changed ``path``), newest first, at most ``limit``, those older than the ref ``after``."""
        request = reads.GetHistoryRequest(**self._head(), path=path, ref=ref, limit=limit, after=after)
        return self._ask(operations.GET_HISTORY, request)

    def get_commit(self, ref: str = "HEAD") -> Job[MemoryCommit]:
        """Describe one commit: its message, author, files and line counts; the job raises ``RefNotFoundError``."""
        return self._ask(operations.GET_COMMIT, reads.GetCommitRequest(**self._head(), ref=ref))

    def get_head_sha(self, branch: str = "main") -> Job[str]:
        """Ask which commit a branch is at; the job raises ``RefNotFoundError`` if there is no such branch."""
        request = reads.GetHeadShaRequest(**self._head(), branch=branch)
        return self._ask(operations.GET_HEAD_SHA, request)

    def diff(self, base: str, target: str, *, paths: Sequence[str] | None = None) -> Job[Diff]:
        """Compare two refs, all files or those at and below ``paths``.

        Renames are shown as one file deleted and one added. The job raises ``RefNotFoundError``, or ``TooLargeError``
        when the patches do not fit into one reply.
        """
        request = reads.DiffRequest(**self._head(), base=base, target=target, paths=_paths(paths))
        return self._ask(operations.DIFF, request)

    def restore(
        self,
        ref: str,
        *,
        paths: Sequence[str] | None = None,
        branch: str = "main",
        author: Author = DEFAULT_AUTHOR,
        request_id: str | None = None,
    ) -> Job[CommitResult]:
        """Make what was at ``ref`` the content again, as a new commit; all files, or those at and below ``paths``.

        Nothing of the history is lost. The job raises ``RefNotFoundError``, or ``PathNotFoundError`` for a path that is
        neither there nor here. If nothing differs, the result says ``created=False``.
        """
        request = writes.RestoreRequest(
            **self._head(request_id), ref=ref, paths=_paths(paths), branch=branch, author=author
        )
        return self._ask(operations.RESTORE, request, request_id)

    def list_branches(self) -> Job[list[Branch]]:
        """List all branches with the commits that they are at, by name."""
        return self._ask(operations.LIST_BRANCHES, reads.ListBranchesRequest(**self._head()))

    def find_request(self, request_id: str) -> Job[RequestOutcome | None]:
        """Ask what became of a request of this agent whose result has expired.

        The answer comes from the ledger of the last 24 hours; an older commit is looked for in the history of all
        branches and tags. None means that there is no trace: it was a read, was never applied, or was settled longer
        ago without a commit that is still there. This call takes its place behind a request that is still queued.
        """
        wanted = check_request_id(request_id)
        request = reads.FindRequestRequest(**self._head(), wanted=wanted)
        return self._ask(operations.FIND_REQUEST, request)

    def create_branch(
        self, name: str, *, start_point: str = "main", request_id: str | None = None
    ) -> Job[Branch]:
        """Begin a branch at ``start_point``, any ref.

        The job raises ``RefNotFoundError``, or ``InvalidRequestError`` if there is a branch of that name elsewhere.
        """
        request = writes.CreateBranchRequest(**self._head(request_id), name=name, start_point=start_point)
        return self._ask(operations.CREATE_BRANCH, request, request_id)

    def delete_branch(self, name: str, *, request_id: str | None = None) -> Job[None]:
        """Remove a branch; its commits stay in the journal. The job raises ``RefNotFoundError`` if there is none."""
        request = writes.DeleteBranchRequest(**self._head(request_id), name=name)
        return self._ask(operations.DELETE_BRANCH, request, request_id)

    def delete_repo(self, *, request_id: str | None = None) -> Job[None]:
        """Delete the memory with all its history, for good."""
        request = writes.DeleteRepoRequest(**self._head(request_id))
        return self._ask(operations.DELETE_REPO, request, request_id)

    def _head(self, request_id: str | None = None) -> Head:
        """Return what every request begins with."""
        return {
            "org_id": self.org_id,
            "agent_id": self.agent_id,
            "request_id": new_id() if request_id is None else request_id,
            "enqueued_at": self._dispatcher.now_s(),
        }

    def _ask(self, operation: Operation[Asked, T], request: Asked, request_id: str | None = None) -> Job[T]:
        """Check a request and send it; ``request_id`` is the caller's own, if there is one.

        The task's id is always a new one: whoever knows it may read the result and cancel the task, and a caller's
        request id may be known to others, or be used by two agents.
        """
        operations.validate(request, self._dispatcher.limits)
        return self._dispatcher.submit(
            operation, request, request.request_id if request_id is None else new_id()
        )


def _changes(changes: object, field: str) -> tuple[FileChange, ...]:
    """Return changes as what the requests take."""
    if isinstance(changes, Mapping):
        return tuple(_change(*one, f"{field}[{index}]") for index, one in enumerate(changes.items()))
    if isinstance(changes, Sequence) and not isinstance(changes, str | bytes):
        listed = tuple(one for one in changes if isinstance(one, FileChange))
        if len(listed) == len(changes):
            return listed
    raise InvalidRequestError.of(
        field, "must map paths to str, bytes or None, or be a sequence of FileChange"
    )


def _changes_and_edits(changes: object) -> tuple[FileChange | Edit, ...]:
    """Return a commit's changes as the request takes them."""
    if isinstance(changes, Sequence) and not isinstance(changes, str | bytes):
        listed = tuple(
            one for one in changes if isinstance(one, FileChange | Append | Replace | Insert | Move)
        )
        if len(listed) == len(changes):
            return listed
    return _changes(changes, "changes")


def _change(path: str, content: str | bytes | None, where: str) -> FileChange:
    try:
        return FileChange(path=path, content=content)
    except InvalidRequestError as error:
        raise error.within(where) from None


def _paths(paths: Sequence[str] | None) -> tuple[str, ...] | None:
    if paths is None:
        return None
    if isinstance(paths, str | bytes) or not isinstance(paths, Iterable):
        raise InvalidRequestError.of("paths", "must be a sequence of paths, or None")
    return tuple(paths)
