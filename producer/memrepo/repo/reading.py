"""The calls that read."""

from __future__ import annotations

from collections.abc import Sequence

from memrepo.jobs.job import Job
from memrepo.models import (
    Branch,
    Diff,
    Favor,
    FileInfo,
    Match,
    MemoryCommit,
    MemoryFile,
    MergePreview,
    Origin,
    RequestOutcome,
    Snapshot,
    Tag,
)
from memrepo.repo.asking import Asking, paths_of
from memrepo.repo.changes import Files, changes_of
from memrepo.validation.values import check_request_id
from memrepo.wire import operations
from memrepo.wire.requests import merges, reads
from memrepo.wire.requests.forks import GetOriginsRequest
from memrepo.wire.requests.search import SearchRequest
from memrepo.wire.requests.tags import ListTagsRequest


class Reading(Asking):
    """The reads of a memory."""

    def get_files(self, ref: str = "HEAD", *, paths: Sequence[str] | None = None) -> Job[Snapshot]:
        """Read all files, or those of ``paths`` that exist, as they were at ``ref``.

        A ref is ``HEAD``, a branch, a tag, a sha or its first digits (at least 7), each with ``~n`` behind it or not; a
        branch may have a time before that, as ``main@{2026-11-26T12:00:00Z}``.

        The job raises ``RefNotFoundError``, or ``TooLargeError`` when they do not fit into one reply.
        """
        request = reads.GetFilesRequest(**self._head(), ref=ref, paths=paths_of(paths))
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
        request = reads.DiffRequest(**self._head(), base=base, target=target, paths=paths_of(paths))
        return self._ask(operations.DIFF, request)

    def search(
        self,
        text: str,
        *,
        ref: str = "HEAD",
        paths: Sequence[str] | None = None,
        regex: bool = False,
        ignore_case: bool = False,
        context: int = 0,
        limit: int = 200,
    ) -> Job[list[Match]]:
        """Find the lines that have ``text`` in them, by path and line; in all files, or those at and below ``paths``.

        Binary files are passed over. With ``regex`` it is a regular expression in the syntax of RE2, which knows no
        back references and no look-around; of a line over 64 KiB that, or ``ignore_case``, may see the beginning alone.
        With ``context`` each match comes with so many lines before and after it. Where there are ``limit``, the last
        one has ``limit_reached``: there may be more.

        The job raises ``RefNotFoundError``, ``InvalidRequestError`` for what is no regular expression, or
        ``TooLargeError`` where the search would take too long or what is found does not fit into one reply.
        """
        request = SearchRequest(
            **self._head(),
            text=text,
            ref=ref,
            paths=paths_of(paths),
            regex=regex,
            ignore_case=ignore_case,
            context=context,
            limit=limit,
        )
        return self._ask(operations.SEARCH, request)

    def preview_merge(
        self,
        source: str,
        target: str = "main",
        *,
        squash: bool = False,
        favor: Favor | None = None,
        resolutions: Files | None = None,
    ) -> Job[MergePreview]:
        """Ask what merging would do, without doing it: which files would change, and what both sides have at conflicts.

        ``squash``, ``favor`` and ``resolutions`` are those of ``merge``, and what they decide is no conflict. The job
        raises ``RefNotFoundError``, ``InvalidRequestError`` where ``merge`` would, or ``TooLargeError`` when the
        conflicting files do not fit into one reply.
        """
        request = merges.PreviewMergeRequest(
            **self._head(),
            source=source,
            target=target,
            squash=squash,
            favor=favor,
            resolutions=changes_of({} if resolutions is None else resolutions, "resolutions"),
        )
        return self._ask(operations.PREVIEW_MERGE, request)

    def list_branches(self) -> Job[list[Branch]]:
        """List all branches with the commits that they are at, by name."""
        return self._ask(operations.LIST_BRANCHES, reads.ListBranchesRequest(**self._head()))

    def list_tags(self) -> Job[list[Tag]]:
        """List all tags with the commits that they are at, by name."""
        return self._ask(operations.LIST_TAGS, ListTagsRequest(**self._head()))

    def get_origins(self) -> Job[list[Origin]]:
        """Ask which memories this one was forked from: the nearest first, then what that was forked from, and so on.

        None for a memory that began by itself. It stays the same, whatever becomes of those memories.
        """
        return self._ask(operations.GET_ORIGINS, GetOriginsRequest(**self._head()))

    def find_request(self, request_id: str) -> Job[RequestOutcome | None]:
        """Ask what became of a request of this agent whose result has expired.

        The answer comes from the ledger of the last 24 hours; an older commit is looked for in the history of all
        branches and tags. None means that there is no trace: it was a read, was never applied, or was settled longer
        ago without a commit that is still there. This call takes its place behind a request that is still queued.
        """
        wanted = check_request_id(request_id)
        request = reads.FindRequestRequest(**self._head(), wanted=wanted)
        return self._ask(operations.FIND_REQUEST, request)
