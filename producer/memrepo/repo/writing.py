"""The calls that write."""

from __future__ import annotations

from collections.abc import Sequence

from memrepo.jobs.job import Job
from memrepo.models import (
    DEFAULT_AUTHOR,
    Author,
    Branch,
    CommitResult,
    FastForward,
    Favor,
    MergeResult,
    OnConflict,
    Tag,
)
from memrepo.repo.asking import Asking, paths_of
from memrepo.repo.changes import Changes, Files, changes_and_edits_of, changes_of
from memrepo.validation.values import check_id
from memrepo.wire import operations
from memrepo.wire.requests import forks, merges, tags, writes


class Writing(Asking):
    """The writes of a memory."""

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
            initial_files=changes_of({} if initial_files is None else initial_files, "initial_files"),
            author=author,
        )
        return self._ask(operations.CREATE_REPO, request, request_id)

    def commit(  # noqa: PLR0913 - one argument per choice
        self,
        changes: Changes,
        message: str,
        *,
        author: Author = DEFAULT_AUTHOR,
        branch: str = "main",
        start_point: str = "main",
        expected_head: str | None = None,
        create_repo_if_missing: bool = False,
        on_conflict: OnConflict = "fail",
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
            on_conflict: what to do where the branch has moved on since ``expected_head``. ``fail``; ``rebase``: put the
                commit onto the present head, if nobody has changed a path that it changes; ``merge``: merge it there,
                file by file, as three-way merges do.
            request_id: the same id with the same call is applied once; see the class.

        The job raises ``RepoNotFoundError``, ``HeadMovedError``, or ``ContentMovedError`` for a change whose
        ``expected_sha256`` is not what is there, or an edit that does not find what it looks for; ``PathNotFoundError``
        for an edit of a file that is not there; ``MergeConflictError`` where ``on_conflict="merge"`` meets one.
        A commit that changes nothing gives ``created=False``.
        """
        request = writes.CommitRequest(
            **self._head(request_id),
            changes=changes_and_edits_of(changes),
            message=message,
            author=author,
            branch=branch,
            start_point=start_point,
            expected_head=expected_head,
            create_repo_if_missing=create_repo_if_missing,
            on_conflict=on_conflict,
        )
        return self._ask(operations.COMMIT, request, request_id)

    def restore(
        self,
        ref: str,
        *,
        paths: Sequence[str] | None = None,
        branch: str = "main",
        author: Author = DEFAULT_AUTHOR,
        message: str | None = None,
        expected_head: str | None = None,
        request_id: str | None = None,
    ) -> Job[CommitResult]:
        """Make what was at ``ref`` the content again, as a new commit; all files, or those at and below ``paths``.

        Nothing of the history is lost. ``message`` is the commit's; by default it says what was restored. With
        ``expected_head``, a whole sha, the job raises ``HeadMovedError`` if the branch is elsewhere; it raises
        ``RefNotFoundError``, or ``PathNotFoundError`` for a path that is neither there nor here. If nothing differs,
        the result says ``created=False``.
        """
        request = writes.RestoreRequest(
            **self._head(request_id),
            ref=ref,
            paths=paths_of(paths),
            branch=branch,
            author=author,
            message=message,
            expected_head=expected_head,
        )
        return self._ask(operations.RESTORE, request, request_id)

    def merge(  # noqa: PLR0913 - one argument per choice
        self,
        source: str,
        target: str = "main",
        message: str | None = None,
        *,
        author: Author = DEFAULT_AUTHOR,
        fast_forward: FastForward = "prefer",
        squash: bool = False,
        favor: Favor | None = None,
        resolutions: Files | None = None,
        expected_head: str | None = None,
        request_id: str | None = None,
    ) -> Job[MergeResult]:
        """Bring into a branch what another has, as one commit of two parents; renames are not followed.

        Args:
            source: any ref, e.g. a branch; it stays as it is.
            target: the branch that it goes into.
            message: of the commit; by default it says what was merged.
            author: who merges.
            fast_forward: where the target has nothing that the source lacks, ``prefer`` and ``only`` move it there
                without a commit, ``never`` makes one; with ``only`` the job raises ``HeadMovedError`` else.
            squash: make a commit of one parent, the target's head; it goes with ``prefer`` alone.
            favor: whose lines a hunk gets that both changed: ``ours`` (the target's), ``theirs``, or both (``union``).
            resolutions: files to write (or delete) where the two sides conflict, as ``changes`` of a commit; each must
                be of a conflict. Where one side has a folder in the file's place, writing the file removes that.
            expected_head: a whole sha; refuse if the target is elsewhere.
            request_id: the same id with the same call is applied once; see the class.

        The job raises ``MergeConflictError``, and then nothing has changed; ``preview_merge`` gives the contents.
        ``RefNotFoundError``, ``HeadMovedError``, or ``InvalidRequestError`` for a resolution of what does not conflict.
        """
        request = merges.MergeRequest(
            **self._head(request_id),
            source=source,
            target=target,
            message=message,
            author=author,
            fast_forward=fast_forward,
            squash=squash,
            favor=favor,
            resolutions=changes_of({} if resolutions is None else resolutions, "resolutions"),
            expected_head=expected_head,
        )
        return self._ask(operations.MERGE, request, request_id)

    def fork(
        self,
        agent_id: str,
        *,
        ref: str = "HEAD",
        history: bool = True,
        author: Author = DEFAULT_AUTHOR,
        request_id: str | None = None,
    ) -> Job[CommitResult]:
        """Begin another agent's memory, in the same organisation, with what this one has at ``ref``.

        The new memory has one branch, ``main``, and goes its own way from then on: what becomes of either never
        touches the other. Where it comes from stays readable in it (``get_origins``).

        Args:
            agent_id: whose memory to begin; it must have none.
            ref: any ref of this memory, e.g. a branch, a tag or a sha.
            history: whether all commits that lead to ``ref`` come along; without, its files are one first commit.
            author: who makes that first commit.
            request_id: the same id with the same call is applied once; it is one of the new agent's.

        It waits for its turn among the requests of this memory: what was committed to it before is in the copy. What is
        asked of the new memory must wait for the job. That raises ``RepoExistsError`` where the
        agent has a memory already; ``RepoNotFoundError`` or ``RefNotFoundError`` where there is nothing to copy;
        ``TooLargeError`` where it is more than one entry may hold, and says what helps; ``MemoryDamagedError`` where
        this memory cannot be read.
        """
        request = forks.ForkRequest(
            **self._head(request_id),
            new_agent_id=check_id(agent_id, "agent_id"),
            ref=ref,
            history=history,
            author=author,
        )
        return self._ask(operations.FORK, request, request_id)

    def create_branch(
        self, name: str, *, start_point: str = "main", request_id: str | None = None
    ) -> Job[Branch]:
        """Begin a branch at ``start_point``, any ref.

        The job raises ``RefNotFoundError``, or ``InvalidRequestError`` if there is a branch of that name elsewhere.
        """
        request = writes.CreateBranchRequest(**self._head(request_id), name=name, start_point=start_point)
        return self._ask(operations.CREATE_BRANCH, request, request_id)

    def delete_branch(
        self, name: str, *, expected_head: str | None = None, request_id: str | None = None
    ) -> Job[None]:
        """Remove a branch; its commits stay in the journal.

        The job raises ``RefNotFoundError`` if there is none; with ``expected_head``, a whole sha, ``HeadMovedError`` if
        it is elsewhere.
        """
        request = writes.DeleteBranchRequest(**self._head(request_id), name=name, expected_head=expected_head)
        return self._ask(operations.DELETE_BRANCH, request, request_id)

    def create_tag(
        self,
        name: str,
        *,
        ref: str = "main",
        overwrite: bool = False,
        expected_head: str | None = None,
        request_id: str | None = None,
    ) -> Job[Tag]:
        """Give the commit at ``ref`` a name that stays there, whatever becomes of its branch.

        A tag that is there at that commit is no error; one that is elsewhere stays where it is, unless ``overwrite``
        says that it is to be moved; with ``expected_head``, a whole sha, it is moved from there alone, and else the job
        raises ``HeadMovedError``. It raises ``RefNotFoundError``, or ``InvalidRequestError`` for a name that is taken,
        or that git could not keep beside the others.
        """
        request = tags.CreateTagRequest(
            **self._head(request_id), name=name, ref=ref, overwrite=overwrite, expected_head=expected_head
        )
        return self._ask(operations.CREATE_TAG, request, request_id)

    def delete_tag(
        self, name: str, *, expected_head: str | None = None, request_id: str | None = None
    ) -> Job[None]:
        """Remove a tag; the commit stays in the journal.

        The job raises ``RefNotFoundError`` if there is none; with ``expected_head``, a whole sha, ``HeadMovedError`` if
        it is elsewhere.
        """
        request = tags.DeleteTagRequest(**self._head(request_id), name=name, expected_head=expected_head)
        return self._ask(operations.DELETE_TAG, request, request_id)

    def delete_repo(self, *, request_id: str | None = None) -> Job[None]:
        """Delete the memory with all its history, for good."""
        request = writes.DeleteRepoRequest(**self._head(request_id))
        return self._ask(operations.DELETE_REPO, request, request_id)
